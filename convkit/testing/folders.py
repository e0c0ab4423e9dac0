"""Looking at folders before and after, and damaging files on purpose."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

GARBAGE_SEED = 7
DAMAGES = ("truncated", "garbage", "empty")


def snapshot(folders: Iterable[Path]) -> dict[str, tuple[int, int]]:
    """Every file and folder below, with size and time of change (0 for folders)."""
    found: dict[str, tuple[int, int]] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            status = path.lstat()
            known = (0, 0) if path.is_dir() else (status.st_size, status.st_mtime_ns)
            found[str(path)] = known
    return found


def differences(
    before: Mapping[str, tuple[int, int]], after: Mapping[str, tuple[int, int]]
) -> tuple[str, ...]:
    """Paths that appeared, disappeared or changed."""
    return tuple(p for p in sorted({*before, *after}) if before.get(p) != after.get(p))


def within(path: str, roots: Iterable[Path]) -> bool:
    """Whether a path is one of the roots or lies below one."""
    real = Path(os.path.realpath(path))
    return any(real.is_relative_to(os.path.realpath(root)) for root in roots)


def companions(path: str, output: Path) -> bool:
    """Whether a path lies beside a single-file output and bears its name: external data."""
    other = Path(path)
    beside = os.path.realpath(other.parent) == os.path.realpath(output.parent)
    return beside and other.name.startswith(f"{output.stem}.")


def damaged(source: Path, folder: Path, damage: str) -> Path:
    """A copy of a model whose largest file is `truncated` to half, replaced by `garbage` of the
    same length, or `empty`."""
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / source.name
    if source.is_dir():
        shutil.copytree(source, copy)
        victim = max((p for p in copy.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    else:
        shutil.copyfile(source, copy)
        victim = copy
    content = victim.read_bytes()
    if damage == "truncated":
        victim.write_bytes(content[: len(content) // 2])
    elif damage == "garbage":
        victim.write_bytes(random.Random(GARBAGE_SEED).randbytes(len(content)))
    elif damage == "empty":
        victim.write_bytes(b"")
    else:
        raise ValueError(damage)
    return copy
