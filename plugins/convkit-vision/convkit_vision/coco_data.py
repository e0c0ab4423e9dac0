"""A labelled detection data set on disk: images, annotations, and how to use them.

Two layouts are read, and give the same: COCO's JSON (`coco_json`) and YOLO's text files
(`yolo_labels`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convkit.errors import InputError
from convkit_vision import coco_json, settings, yolo_labels
from convkit_vision.dataset import SETTINGS, read_settings
from convkit_vision.detection import DetectionSettings, parse_detection
from convkit_vision.transform import Transform

if TYPE_CHECKING:
    from convkit.plugin import Artifact


@dataclass(frozen=True)
class CocoImage:
    """One image of the set; width and height in pixels, as annotated."""

    id: int
    file: Path
    width: int
    height: int


@dataclass(frozen=True)
class CocoData:
    """A detection data set.

    Attributes:
        images: in the order of the annotations.
        categories: COCO category id of each class score, in order.
        names: category id to name.
        truth: a COCO document of these images only, with `area` and `iscrowd` filled in; fresh, so
            that an evaluator may write into it.
        labels: where the annotations stand, for messages.
    """

    transform: Transform
    detection: DetectionSettings
    images: tuple[CocoImage, ...]
    categories: tuple[int, ...]
    names: Mapping[int, str]
    truth: dict[str, Any]
    labels: Path


def load_coco(data: Path, limit: int | None, artifact: Artifact | None = None) -> CocoData:
    """Read the data set's settings and the annotations of its first `limit` images.

    Args:
        artifact: the model that is asked about, for the example in the error about settings.

    Raises:
        InputError: a file is missing, malformed, or points outside the folder.
    """
    if not data.is_dir():
        raise InputError(
            f"{data} is no folder with a detection data set",
            hint=f"Give a folder with images, COCO or YOLO annotations and {SETTINGS}.",
        )
    transform, table = read_settings(data, "detection", artifact)
    detection = settings.attempt(
        lambda: parse_detection(table), f"{data / SETTINGS}: [detection]", InputError
    )
    labels = coco_json.find(data)
    if labels is not None:
        truth, files = coco_json.read(data, labels, limit)
    else:
        labels = yolo_labels.find(data)
        if labels is None:
            raise InputError(
                f"{data} holds no annotations that are known",
                hint="COCO: annotations.json (or annotations/instances_*.json) and images/. YOLO:"
                " images/, labels/ with a .txt file per image, and data.yaml or classes.txt. Or"
                f" say in {SETTINGS} where they lie: [data] annotations = ..., images = ....",
            )
        truth, files = yolo_labels.read(data, labels, limit)
    images = tuple(
        CocoImage(entry["id"], file, entry["width"], entry["height"])
        for entry, file in zip(truth["images"], files, strict=True)
    )
    names = {category["id"]: category["name"] for category in truth["categories"]}
    categories = detection.categories or tuple(sorted(names))
    strangers = [key for key in categories if key not in names]
    if strangers:
        raise InputError(f"{data / SETTINGS}: [detection]: {labels} has no category {strangers[0]}")
    if not images:
        raise InputError(f"{labels} lists no images")
    return CocoData(transform, detection, images, categories, names, truth, labels)
