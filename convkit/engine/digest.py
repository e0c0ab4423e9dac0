"""Digests: of files, of trees, and of keys."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from convkit.codec import encode


def digest_file(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_files(files: Iterable[Path], root: Path) -> str:
    """sha256 over names relative to `root` and contents, in sorted order."""
    total = hashlib.sha256()
    for file in sorted(files):
        total.update(file.relative_to(root).as_posix().encode() + b"\0")
        total.update(bytes.fromhex(digest_file(file)))
    return total.hexdigest()


def digest_path(path: Path) -> str:
    """sha256 of a file, or of a directory's tree."""
    if path.is_dir():
        return digest_files((p for p in path.rglob("*") if p.is_file()), path)
    return digest_file(path)


def digest_key(value: Any) -> str:
    """sha256 of any noun, by its sorted JSON."""
    text = json.dumps(encode(value), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def size_of(path: Path) -> int:
    """Bytes of a file or of all files of a directory."""
    if path.is_dir():
        return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    return path.stat().st_size
