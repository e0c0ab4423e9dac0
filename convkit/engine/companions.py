"""Companions: files beside a single-file artifact that are part of it, such as external weights.

What a file really refers to its inspector finds (`Inspection.companions`); what convkit's own
outputs may have, their format declares (`Format.companions`).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from convkit.artifact import Format
from convkit.engine.digest import digest_key, digest_path, size_of


def places(path: Path, home: Format) -> tuple[Path, ...]:
    """Where the companions of one of convkit's outputs lie, if it has any: `<stem>.bin`."""
    if not home.companions:
        return ()
    stem = path.name.removesuffix(home.suffixes[0])
    return tuple(path.with_name(stem + suffix) for suffix in home.companions)


def present(path: Path, home: Format) -> tuple[str, ...]:
    """The names of those of `places` that exist."""
    return tuple(place.name for place in places(path, home) if place.exists())


def content_digest(path: Path, names: Iterable[str] = ()) -> str:
    """Digest of the plain bytes of an artifact with the companions of these names."""
    others = [digest_path(path.parent / name) for name in names]
    return digest_key([digest_path(path), *others]) if others else digest_path(path)


def whole_size(path: Path, names: Iterable[str]) -> int:
    """Bytes of an artifact with the companions of these names."""
    return size_of(path) + sum(size_of(path.parent / name) for name in names)
