"""From what the user gave to an inspected source artifact."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path

from convkit.artifact import Artifact, Detection, Format, ReadOptions
from convkit.codec import decode, encode
from convkit.engine.companions import content_digest, whole_size
from convkit.engine.digest import digest_key, digest_path
from convkit.engine.session import Found, Session, traits_of
from convkit.errors import InputError, UsageError, did_you_mean
from convkit.inspection import Inspection
from convkit.plugin.manager import PluginManager

HEAD_BYTES = 4096
UNNAMED = "input"
"""The name that a shape without one stands under."""
SURE = 0.9
"""A detection from here on rests on the content, not on the suffix."""


def detect(manager: PluginManager, path: Path) -> Detection | None:
    """The most confident guess at a file's format, or None.

    Raises:
        InputError: two formats claim it with equal confidence.
    """
    head = b""
    if path.is_file():
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    guesses = [g for _, g in manager.call("convkit_detect_format", path=path, head=head)]
    best: dict[str, Detection] = {}
    for guess in sorted(guesses, key=lambda g: g.confidence):
        best[guess.format] = guess
    ranked = sorted(best.values(), key=lambda g: -g.confidence)
    if len(ranked) > 1 and ranked[0].confidence == ranked[1].confidence:
        names = " and ".join(sorted(g.format for g in ranked[:2]))
        raise InputError(f"{path} could be {names} alike", hint="Say which with --from.")
    return ranked[0] if ranked else None


def format_of(
    manager: PluginManager, formats: Mapping[str, Format], path: Path, stated: str | None
) -> str:
    """The format of a source: detected from content and checked against what the user stated.

    Raises:
        UsageError: missing, empty, a folder that is no model, unknown, or a mismatch.
    """
    if not path.exists():
        raise UsageError(f"there is no file {path}", hint=_near(path))
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(f"{path} is empty", hint="The download or export may have been cut short.")
    try:
        found = detect(manager, path)
    except InputError:
        if stated is None:
            raise
        return stated
    except PermissionError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    if stated is not None:
        if found is not None and found.confidence >= SURE and found.format != stated:
            raise InputError(
                f"{path} is {found.format} by its content, but --from says {stated}",
                hint=f"Leave --from out, or give --from {found.format}.",
            )
        return stated
    if found is None:
        what = "a folder that holds no model" if path.is_dir() else "not a model file"
        raise InputError(
            f"{path} is {what} that any installed plugin knows",
            hint="`convkit formats` lists the formats; --from states one.",
        )
    _check_suffix(path, found, formats)
    return found.format


def _check_suffix(path: Path, found: Detection, formats: Mapping[str, Format]) -> None:
    """A suffix that belongs to another format is more likely a mix-up than a wish."""
    owners = [f.id for f in formats.values() if path.suffix.lower() in f.suffixes]
    if path.is_file() and owners and found.format not in owners:
        raise InputError(
            f"{path} is {found.format} by its content, but its suffix says {owners[0]}",
            hint=f"Rename it, or give --from {found.format}.",
        )


def load(session: Session, path: Path, format_id: str, read: ReadOptions) -> Found:
    """Inspect a source in a worker (once per content) and describe it as an artifact."""
    inspector = session.registry.inspector(format_id)
    plain = digest_path(path)
    key = digest_key(
        {
            "kind": "model",
            "file": plain,
            "name": path.name,  # it may say what the content leaves open, such as a scale
            "read": encode(read),
            "inspector": session.implementation_key(
                "inspectors", inspector.name, inspector.requirements
            ),
        }
    )
    document = session.store.read(key)
    if document is not None and document["companions"] != _digests(path, document["companions"]):
        session.store.forget(key)  # the file is the same, but the weights beside it are others
        document = None
    if document is None:
        with session.stage(f"reading {path.name}") as stage:
            seen = session.inspect(path, format_id, read, stage)
        document = {"inspection": encode(seen), "companions": _digests(path, seen.companions)}
        session.store.remember(key, document)
    inspection: Inspection = decode(Inspection, document["inspection"])
    read = _check_shapes(read, inspection)
    artifact = Artifact(
        path=path.resolve(),
        state=inspection.state,
        inputs=inspection.inputs,
        outputs=inspection.outputs,
        digest=inspection.digest or content_digest(path, inspection.companions),
        size_bytes=whole_size(path, inspection.companions),
        traits=traits_of(inspection),
        read=read,
    )
    return Found(artifact, inspection)


def _digests(path: Path, companions: Iterable[str]) -> dict[str, str]:
    """Companion to digest; none for one that is missing."""
    files = {name: path.parent / name for name in companions}
    return {name: digest_path(file) for name, file in files.items() if file.exists()}


def _check_shapes(read: ReadOptions, inspection: Inspection) -> ReadOptions:
    """Hold the shapes that the user gave against the inputs that the file has.

    Raises:
        UsageError: no such input, or the file fixes another size.
    """
    inputs = {spec.name: spec for spec in inspection.inputs}
    shapes = dict(read.shapes)
    if UNNAMED in shapes and UNNAMED not in inputs and len(inputs) == 1:
        shapes[next(iter(inputs))] = shapes.pop(UNNAMED)
    for name in (*shapes, *read.dynamic):
        if name not in inputs:
            hint = did_you_mean(name, list(inputs)) or f"Inputs: {', '.join(inputs)}."
            raise UsageError(f"the model has no input called {name!r}", hint=hint)
    for name, shape in shapes.items():
        own = inputs[name].shape
        clash = len(own) != len(shape) or any(
            isinstance(a, int) and a > 0 and a != b for a, b in zip(own, shape, strict=True)
        )
        if clash:
            raise UsageError(
                f"{name} is {'x'.join(str(d) for d in own)} in the file, "
                f"not {'x'.join(map(str, shape))}",
                hint="--shape fixes axes that the file leaves open; export the model anew for "
                "another size.",
            )
    return dataclasses.replace(read, shapes=shapes)


def _near(path: Path) -> str:
    if not path.parent.is_dir():
        return f"The folder {path.parent} does not exist either."
    names = [p.name for p in path.parent.iterdir()]
    return did_you_mean(path.name, names, likeness=0.6) or "Give the path of a model file."
