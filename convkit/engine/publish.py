"""Putting a finished artifact where the user wants it: whole, or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from convkit.artifact import Artifact, Format, State
from convkit.codec import encode
from convkit.engine.companions import content_digest, places, present
from convkit.engine.store import no_space
from convkit.errors import PublishError, UsageError
from convkit.manifest import Manifest, manifest_path

CONTENT_KEY = "content"
"""In a manifest file: digest of the plain bytes, by which convkit knows its own outputs again."""

Rename = Callable[[Path, Mapping[str, str]], None]
"""Lets a file refer to its companions by other names; see `Renamer.rename`."""


def output_path(folder: Path, stem: str, state: State, home: Format) -> Path:
    """`<stem>[-<precision>]<suffix>`, or `<stem>-saved` for a directory format."""
    precision = "" if state.precision == "fp32" else f"-{state.precision}"
    suffix = home.suffix(state.precision) or home.directory_suffix
    return folder / f"{stem}{precision}{suffix}"


def check_writable(path: Path, source: Path, overwrite: bool, home: Format) -> None:
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
    there_already = [p for p in (path, *places(path, home)) if p.exists()]
    if any(p.resolve() == source.resolve() for p in there_already):
        raise UsageError(
            f"the output {path} would replace the model itself", hint="Choose another -o."
        )
    if there_already and not overwrite and not _is_ours(path, home):
        raise UsageError(
            f"{there_already[0]} exists and is not an unchanged output of convkit",
            hint="--overwrite replaces it; -o chooses another folder.",
        )


def publish(
    artifact: Artifact, manifest: Manifest, path: Path, home: Format, rename: Rename | None = None
) -> None:
    """Copy the artifact and its companions beside their places and rename them in; then the
    manifest likewise. Companions of an older output that has more of them disappear.

    Args:
        rename: where files of the format name their companions inside.

    Raises:
        PublishError: no space or no permission; nothing half-written is left.
    """
    note = manifest_path(path)
    pairs = zip(places(artifact.path, home), places(path, home), strict=True)
    companions = {source: place for source, place in pairs if source.exists()}
    staged: dict[Path, Path] = {}
    with _errors(path), _gone_afterwards(staged):
        path.parent.mkdir(parents=True, exist_ok=True)
        for source, place in {**companions, artifact.path: path}.items():
            staged[place] = _temporary(place)
            _copy(source, staged[place])
        if companions and rename is not None:
            rename(staged[path], {s.name: place.name for s, place in companions.items()})
        content = content_digest(staged[path], [staged[p].name for p in companions.values()])
        document = {CONTENT_KEY: content, **encode(manifest)}
        staged[note] = _temporary(note)
        staged[note].write_text(json.dumps(document, indent=1) + "\n", "utf-8")
        for place, temporary in staged.items():  # all is written: now it may appear
            _swap(temporary, place)
        for place in {*places(path, home)} - {*companions.values()}:
            place.unlink(missing_ok=True)


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


def _is_ours(path: Path, home: Format) -> bool:
    try:
        document: dict[str, Any] = json.loads(manifest_path(path).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    if not path.exists():
        return False
    return bool(document.get(CONTENT_KEY) == content_digest(path, present(path, home)))


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise no_space(path.parent) from error
        raise PublishError(f"{path} cannot be written: {error.strerror}") from error
