"""A labelled detection data set on disk: images, COCO annotations, and how to use them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convkit.errors import InputError
from convkit_vision import settings
from convkit_vision.dataset import SETTINGS, read_settings
from convkit_vision.detection import DetectionSettings, parse_detection
from convkit_vision.transform import Transform

ANNOTATIONS = "annotations.json"


@dataclass(frozen=True)
class CocoImage:
    """One image of the set; width and height in pixels, as annotated."""

    id: int
    file: Path
    width: int
    height: int


@dataclass(frozen=True)
class CocoData:
    """A data set folder: `images/`, `annotations.json` (COCO) and `dataset.toml`.

    Attributes:
        images: in the order of the annotation file.
        categories: COCO category id of each class score, in order.
        names: category id to name.
        truth: a COCO document of these images only, with `area` and `iscrowd` filled in; fresh, so
            that an evaluator may write into it.
    """

    transform: Transform
    detection: DetectionSettings
    images: tuple[CocoImage, ...]
    categories: tuple[int, ...]
    names: Mapping[int, str]
    truth: dict[str, Any]


def load_coco(data: Path, limit: int | None) -> CocoData:
    """Read the data set's settings and the annotations of its first `limit` images.

    Raises:
        InputError: a file is missing, malformed, or points outside the folder.
    """
    transform, table = read_settings(data, "detection")
    detection = settings.attempt(
        lambda: parse_detection(table), f"{data / SETTINGS}: [detection]", InputError
    )
    file = data / ANNOTATIONS
    document = _read_json(file)
    try:
        names = {int(c["id"]): str(c["name"]) for c in document["categories"]}
        images = tuple(_image(data, entry) for entry in document["images"][:limit])
        wanted = {image.id for image in images}
        truth = {
            "info": {},
            "images": [
                {"id": i.id, "file_name": i.file.name, "width": i.width, "height": i.height}
                for i in images
            ],
            "categories": [{"id": key, "name": name} for key, name in names.items()],
            "annotations": [
                _annotation(a) for a in document["annotations"] if a["image_id"] in wanted
            ],
        }
    except (KeyError, TypeError, ValueError) as exc:
        raise InputError(
            f"{file} is not a COCO annotation file: {exc!r}",
            hint="It needs images (id, file_name, width, height), categories (id, name) and"
            " annotations (id, image_id, category_id, bbox [x, y, width, height]).",
        ) from exc
    categories = detection.categories or tuple(sorted(names))
    strangers = [key for key in categories if key not in names]
    if strangers:
        raise InputError(f"{data / SETTINGS}: [detection]: {file} has no category {strangers[0]}")
    if not images:
        raise InputError(f"{file} lists no images")
    return CocoData(transform, detection, images, categories, names, truth)


def _read_json(file: Path) -> Any:
    import json

    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as exc:
        raise InputError(f"{file} cannot be read: {exc}") from exc


def _image(data: Path, entry: Mapping[str, Any]) -> CocoImage:
    name = str(entry["file_name"])
    home = (data / "images").resolve()
    file = home / name
    if not file.resolve().is_relative_to(home):
        raise ValueError(f"file_name {name!r} leads out of {home}")
    return CocoImage(int(entry["id"]), file, int(entry["width"]), int(entry["height"]))


def _annotation(entry: Mapping[str, Any]) -> dict[str, Any]:
    x, y, width, height = (float(v) for v in entry["bbox"])
    return {
        "id": int(entry["id"]),
        "image_id": int(entry["image_id"]),
        "category_id": int(entry["category_id"]),
        "bbox": [x, y, width, height],
        "area": float(entry.get("area", width * height)),
        "iscrowd": int(entry.get("iscrowd", 0)),
    }
