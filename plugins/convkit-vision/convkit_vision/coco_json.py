"""Annotations in COCO's JSON: found in the places where people keep them, and checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convkit.errors import InputError
from convkit_vision.dataset import SETTINGS, inside, read_places

PLACES = ("annotations.json", "_annotations.coco.json")
KEYS = ("annotations", "images")


def find(data: Path) -> Path | None:
    """The annotation file; None where there is none.

    `[data] annotations` of `dataset.toml`, else `annotations.json`, else Roboflow's
    `_annotations.coco.json`, else the only `instances_*.json` (or only JSON) in `annotations/`.

    Raises:
        InputError: there are several.
    """
    stated = _places(data).get("annotations")
    if stated is not None:
        return stated
    for name in PLACES:
        if (data / name).is_file():
            return data / name
    everything = sorted((data / "annotations").glob("*.json"))
    found = [file for file in everything if file.name.startswith("instances_")] or everything
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise InputError(
            f"{data / 'annotations'} holds several annotation files: {names}",
            hint=f"Say which in {data / SETTINGS}:\n\n[data]\n"
            f'annotations = "annotations/{found[0].name}"\n'
            f'images = "{_split(found[0])}"\n',
        )
    return found[0] if found else None


def read(data: Path, file: Path, limit: int | None) -> tuple[dict[str, Any], list[Path]]:
    """A COCO document of the first `limit` images, and their files.

    Raises:
        InputError: malformed, a label that means nothing, or images that are not there.
    """
    document = _json(file)
    try:
        names = {int(c["id"]): str(c["name"]) for c in document["categories"]}
        known = {int(entry["id"]) for entry in document["images"]}
        entries = list(document["images"][:limit])
        home = _home(data, file, entries)
        files = [_image(home, entry) for entry in entries]
        images = [
            {
                "id": int(entry["id"]),
                "file_name": path.name,
                "width": int(entry["width"]),
                "height": int(entry["height"]),
            }
            for entry, path in zip(entries, files, strict=True)
        ]
        wanted = {image["id"] for image in images}
        annotations = [
            a
            for entry in document["annotations"]
            if (a := _annotation(entry, names, known, file))["image_id"] in wanted
        ]
    except (KeyError, TypeError, ValueError) as exc:
        raise InputError(
            f"{file} is not a COCO annotation file: {exc!r}",
            hint="It needs images (id, file_name, width, height), categories (id, name) and"
            " annotations (id, image_id, category_id, bbox [x, y, width, height]).",
        ) from exc
    categories = [{"id": key, "name": name} for key, name in names.items()]
    truth = {
        "info": {},
        "images": images,
        "categories": categories,
        "annotations": annotations,
    }
    return truth, files


def _places(data: Path) -> Mapping[str, Path]:
    from convkit_vision.yolo_labels import KEYS as OTHERS

    return read_places(data, tuple(dict.fromkeys((*KEYS, *OTHERS))))


def _json(file: Path) -> Any:
    import json

    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as exc:
        raise InputError(f"{file} cannot be read: {exc}") from exc


def _split(file: Path) -> str:
    """`val2017` of `instances_val2017.json`."""
    return file.stem.removeprefix("instances_")


def _home(data: Path, file: Path, entries: list[Any]) -> Path:
    """The folder that file names are relative to: the first of the usual ones that holds the first
    image."""
    stated = _places(data).get("images")
    if stated is not None:
        return stated
    split = _split(file)
    homes = [data / "images", data / "images" / split, data / split, data]
    if entries:
        name = str(entries[0]["file_name"])
        for home in homes:
            if (home / name).is_file():
                return home
    return homes[0]


def _image(home: Path, entry: Mapping[str, Any]) -> Path:
    name = str(entry["file_name"])
    file = home / name
    if not inside(home, file):
        raise ValueError(f"file_name {name!r} leads out of {home}")
    return file


def _annotation(
    entry: Mapping[str, Any], names: Mapping[int, str], images: set[int], file: Path
) -> dict[str, Any]:
    x, y, width, height = (float(v) for v in entry["bbox"])
    found = {
        "id": int(entry["id"]),
        "image_id": int(entry["image_id"]),
        "category_id": int(entry["category_id"]),
        "bbox": [x, y, width, height],
        "area": float(entry.get("area", width * height)),
        "iscrowd": int(entry.get("iscrowd", 0)),
    }
    fault = ""
    if found["category_id"] not in names:
        fault = f"names category {found['category_id']}, which is not among the categories"
    elif found["image_id"] not in images:
        fault = f"belongs to image {found['image_id']}, which is not among the images"
    elif not all(map(math.isfinite, (x, y, width, height))) or width < 0 or height < 0:
        fault = f"has the box {entry['bbox']}, which is none: x, y, width and height are wanted"
    if fault:
        raise InputError(f"{file}: annotation {found['id']} {fault}")
    return found
