"""From files on disk to what a page is about: manifests of outputs, or a saved document of
`compare --json` or `analyze --json`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from convkit import __version__
from convkit.codec import decode
from convkit.comparison import Compared, Comparison
from convkit.errors import InputError, UsageError
from convkit.manifest import MANIFEST_SUFFIX, Manifest, manifest_path
from convkit.sensitivity import Sensitivity


def read_comparison(paths: Sequence[Path]) -> Comparison:
    """What the given files say: a saved comparison, or outputs of one model with their manifests.

    Args:
        paths: either one document of `convkit compare --json`, or outputs (`model.tflite`) or
            their manifests (`model.tflite.convkit.json`).

    Raises:
        UsageError: a file is not there, has no manifest, or was made from another model.
        InputError: a document that is none of convkit's, or is damaged.
    """
    for path in paths:
        if not path.exists():
            raise UsageError(f"there is no file {path}")
    if len(paths) == 1 and paths[0].suffix == ".json":
        document = _read(paths[0])
        if "models" in document:
            saved: Comparison = _decode(Comparison, document, paths[0])
            return saved
    return _comparison({path: _manifest(path) for path in paths})


def read_analysis(paths: Sequence[Path]) -> Sensitivity | None:
    """What a saved document of `convkit analyze --json` says; None where the files are others.

    Raises:
        InputError: the document is damaged.
    """
    if len(paths) != 1 or paths[0].suffix != ".json" or not paths[0].is_file():
        return None
    document = _read(paths[0])
    if not {"rows", "trials", "regions"} <= document.keys():
        return None
    found: Sensitivity = _decode(Sensitivity, document, paths[0])
    return found


def default_place(paths: Sequence[Path]) -> Path:
    """Where a report on these files goes: beside the only one, else into the working folder."""
    if len(paths) > 1:
        return Path("report.html")
    name = paths[0].name.removesuffix(MANIFEST_SUFFIX).removesuffix(".json")
    return paths[0].with_name(f"{name}.html")


def _manifest(path: Path) -> Manifest:
    place = path if path.name.endswith(MANIFEST_SUFFIX) else manifest_path(path)
    if not place.is_file():
        raise UsageError(
            f"{path} has no manifest beside it ({place.name})",
            hint="convkit writes one beside every output; a saved document of "
            "`convkit compare --json` is taken too.",
        )
    document = _read(place)
    if "hops" not in document:
        raise InputError(f"{place} is no manifest and no comparison of convkit")
    found: Manifest = _decode(Manifest, document, place)
    return found


def _comparison(found: dict[Path, Manifest]) -> Comparison:
    first, *others = found.values()
    for path, manifest in found.items():
        if manifest.source_digest != first.source_digest:
            raise UsageError(
                f"{path} was made from another model ({manifest.source_name}) than the others "
                f"({first.source_name})",
                hint="One report is about what one model became.",
            )
    titles = _titles([str(p).removesuffix(MANIFEST_SUFFIX) for p in found])
    original = Compared(first.source_name, first.source_state, "", 0)
    models = tuple(
        Compared(
            title=title,
            state=manifest.target,
            path=str(path),
            size_bytes=manifest.size_bytes,
            precision=manifest.precision,
            manifest=manifest,
        )
        for title, (path, manifest) in zip(titles, found.items(), strict=True)
    )
    title = first.source_name if others else models[0].title
    return Comparison(title=title, convkit=__version__, models=(original, *models))


def _titles(paths: Sequence[str]) -> list[str]:
    """Names of the files, with their folders where two would be alike."""
    names = [Path(p).name for p in paths]
    return [n if names.count(n) == 1 else p for n, p in zip(names, paths, strict=True)]


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise InputError(f"{path} is no manifest and no comparison of convkit")
    return document


def _decode(kind: Any, document: dict[str, Any], path: Path) -> Any:
    try:
        return decode(kind, document)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise InputError(
            f"{path} is damaged, or was written by another version of convkit: {error}"
        ) from error
