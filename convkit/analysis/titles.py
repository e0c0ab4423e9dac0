"""What models are called in tables: short, and each its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path


def titles_of(paths: Sequence[Path]) -> tuple[str, ...]:
    """The files' names, lengthened by as many folders as it takes to tell them apart."""
    wholes = [path.absolute() for path in paths]
    deepest = max((len(path.parts) for path in wholes), default=0)
    depths = [1] * len(wholes)
    for _ in range(deepest):
        names = [_tail(path, depth) for path, depth in zip(wholes, depths, strict=True)]
        often = Counter(names)
        if len(often) == len(names):
            break
        depths = [d + (often[n] > 1) for d, n in zip(depths, names, strict=True)]
    return tuple(_tail(path, depth) for path, depth in zip(wholes, depths, strict=True))


def _tail(path: Path, depth: int) -> str:
    return Path(*path.parts[-depth:]).as_posix()
