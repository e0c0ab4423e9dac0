"""Putting a finished artifact where the user wants it: whole, or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from convkit.artifact import Artifact, Format, State
from convkit.codec import encode
from convkit.engine.digest import digest_path
from convkit.engine.store import no_space
from convkit.errors import PublishError, UsageError
from convkit.manifest import Manifest, manifest_path

CONTENT_KEY = "content"
"""In a manifest file: digest of the plain bytes, by which convkit knows its own outputs again."""


def output_path(folder: Path, stem: str, state: State, home: Format) -> Path:
    """`<stem>[-<precision>]<suffix>`, or `<stem>-saved` for a directory format."""
    precision = "" if state.precision == "fp32" else f"-{state.precision}"
    suffix = home.suffixes[0] if home.suffixes else home.directory_suffix
    return folder / f"{stem}{precision}{suffix}"


def check_writable(path: Path, source: Path, overwrite: bool) -> None:
    """Refuse before any work what would fail, or destroy something, at the end of it.

    Raises:
        PublishError: no permission, or the folder is a file.
        UsageError: something that convkit did not write is in the way.
    """
    folder = path.parent
    try:
        there = next(p for p in (folder, *folder.parents) if p.exists())
        if not there.is_dir():
            raise PublishError(f"{there} is a file, not a folder", hint="Choose another -o.")
        probe = there / f".convkit-{uuid.uuid4().hex[:8]}"  # the folder itself is made at the end
        probe.touch()
        probe.unlink()
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise no_space(folder) from error
        raise PublishError(
            f"{folder} cannot be written to: {error.strerror}", hint="Choose another -o."
        ) from error
    if path.exists() and path.resolve() == source.resolve():
        raise UsageError(
            f"the output {path} would replace the model itself", hint="Choose another -o."
        )
    if path.exists() and not overwrite and not _is_ours(path):
        raise UsageError(
            f"{path} exists and is not an unchanged output of convkit",
            hint="--overwrite replaces it; -o chooses another folder.",
        )


def publish(artifact: Artifact, manifest: Manifest, path: Path) -> None:
    """Copy the artifact beside its place and rename it in; then its manifest likewise.

    Raises:
        PublishError: no space or no permission; nothing half-written is left.
    """
    note = manifest_path(path)
    places = {extra: path.with_name(extra.name) for extra in _side_files(artifact.path)}
    places[artifact.path] = path
    staged: dict[Path, Path] = {}
    with _errors(path), _gone_afterwards(staged):
        path.parent.mkdir(parents=True, exist_ok=True)
        for source, place in places.items():
            staged[place] = _temporary(place)
            _copy(source, staged[place])
        document = {CONTENT_KEY: digest_path(staged[path]), **encode(manifest)}
        staged[note] = _temporary(note)
        staged[note].write_text(json.dumps(document, indent=1) + "\n", "utf-8")
        for place, temporary in staged.items():  # all is written: now it may appear
            _swap(temporary, place)


def publish_file(source: Path, path: Path) -> None:
    """Copy a report's file into place, whole or not at all.

    Raises:
        PublishError: no space or no permission.
    """
    staged = {path: _temporary(path)}
    with _errors(path), _gone_afterwards(staged):
        path.parent.mkdir(parents=True, exist_ok=True)
        _copy(source, staged[path])
        _swap(staged[path], path)


def _side_files(path: Path) -> list[Path]:
    """Files that belong to a single-file artifact, such as external data."""
    if path.is_dir():
        return []
    return [p for p in path.parent.iterdir() if p.name.startswith(path.name + ".")]


@contextmanager
def _gone_afterwards(staged: Mapping[Path, Path]) -> Iterator[None]:
    """Remove the temporaries of what was staged, as far as they are still there."""
    try:
        yield
    finally:
        for temporary in staged.values():
            if temporary.is_dir():
                shutil.rmtree(temporary, ignore_errors=True)
            else:
                temporary.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        _copy_folder(source, target)
    else:
        shutil.copyfile(source, target)


def _swap(temporary: Path, path: Path) -> None:
    """Rename into place; a folder cannot be renamed over another one, so that one steps aside."""
    if not (temporary.is_dir() and path.exists()):
        os.replace(temporary, path)
        return
    old = _temporary(path)
    os.replace(path, old)
    os.replace(temporary, path)
    shutil.rmtree(old) if old.is_dir() else old.unlink()


def _copy_folder(source: Path, target: Path) -> None:
    """As `shutil.copytree`, which would hide the number of an error such as a full disk."""
    target.mkdir()
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_dir():
            place.mkdir()
        else:
            shutil.copyfile(path, place)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")


def _is_ours(path: Path) -> bool:
    try:
        document: dict[str, Any] = json.loads(manifest_path(path).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    known = document.get(CONTENT_KEY)
    return known == digest_path(path)


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise no_space(path.parent) from error
        raise PublishError(f"{path} cannot be written: {error.strerror}") from error
