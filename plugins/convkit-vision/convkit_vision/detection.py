"""From a detector's raw outputs to detections: decoding and non-maximum suppression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from convkit.errors import UsageError
from convkit_vision import settings
from convkit_vision.geometry import Placement

DECODERS = ("yolo",)
BOX_FORMATS = ("cxcywh", "xyxy")
BOX_UNITS = ("pixels", "normalized")
MAX_CANDIDATES = 30_000
"""Candidates that enter suppression, best first, so that a model whose scores all lie above the
threshold cannot make it run forever (the same bound as in ultralytics)."""


@dataclass(frozen=True)
class DetectionSettings:
    """The `[detection]` table of a `dataset.toml`.

    Attributes:
        decoder: `yolo`: an output (1, 4 + C, N) or (1, N, 4 + C), boxes then class scores in 0..1,
            or two outputs with 4 and C rows.
        score_threshold: detections above it enter; low, since mAP wants the whole curve.
        iou_threshold: a box is suppressed by a better one of its class that overlaps it by more.
        max_detections: kept per image.
        box_format: `cxcywh` or `xyxy`.
        box_units: `pixels` of the model's input, or `normalized` to 0..1.
        categories: COCO category id of each class score; empty for the ids in ascending order.
    """

    decoder: str = "yolo"
    score_threshold: float = 0.001
    iou_threshold: float = 0.6
    max_detections: int = 100
    box_format: str = "cxcywh"
    box_units: str = "pixels"
    categories: tuple[int, ...] = ()


@dataclass(frozen=True)
class Detections:
    """What was found in one image, best first.

    Attributes:
        boxes: float64 (k, 4), x1 y1 x2 y2.
        scores: float64 (k,).
        classes: int64 (k,), index of the class score.
        score_max: the best finite class score of the raw output, thresholds aside; 0 if none.
        invalid: anchors left out because a box or score was NaN or infinite.
    """

    boxes: Any
    scores: Any
    classes: Any
    score_max: float = 0.0
    invalid: int = 0


def parse_detection(table: Mapping[str, Any]) -> DetectionSettings:
    """Read a `[detection]` table.

    Raises:
        SettingError: an unknown key, or a wrong type or value.
    """
    plain = DetectionSettings()
    settings.check_keys(table, plain.__dataclass_fields__)
    value = {**{key: getattr(plain, key) for key in plain.__dataclass_fields__}, **table}
    if not isinstance(value["categories"], list | tuple):
        raise settings.SettingError("categories must be a list of category ids")
    return DetectionSettings(
        decoder=settings.choice("decoder", value["decoder"], DECODERS),
        score_threshold=settings.number("score_threshold", value["score_threshold"], 0, 1),
        iou_threshold=settings.number("iou_threshold", value["iou_threshold"], 0, 1),
        max_detections=settings.integer("max_detections", value["max_detections"], 1, 10_000),
        box_format=settings.choice("box_format", value["box_format"], BOX_FORMATS),
        box_units=settings.choice("box_units", value["box_units"], BOX_UNITS),
        categories=tuple(
            settings.integer("categories", item, 0, 1 << 31) for item in value["categories"]
        ),
    )


def detect(
    outputs: Sequence[Any], classes: int, how: DetectionSettings, placement: Placement
) -> Detections:
    """Decode one image's outputs, suppress duplicates, and undo the image's placement.

    Multi-label, as COCO evaluation has it: an anchor counts once for every class above the
    threshold. Anchors with values that are not finite are left out.

    Raises:
        UsageError: no output has a shape that the decoder knows.
    """
    import numpy as np

    boxes, scores = split(outputs, classes)
    sound = np.isfinite(boxes).all(axis=1) & np.isfinite(scores).all(axis=1)
    boxes, scores = boxes[sound], scores[sound]
    at, labels = np.nonzero(scores > how.score_threshold)
    found = scores[at, labels]
    order = np.argsort(-found, kind="stable")[:MAX_CANDIDATES]
    at, labels, found = at[order], labels[order], found[order]
    corners = boxes[at].astype(np.float64)
    if how.box_format == "cxcywh":
        half = corners[:, 2:] / 2
        corners = np.concatenate([corners[:, :2] - half, corners[:, :2] + half], axis=1)
    if how.box_units == "normalized":
        corners *= np.array(placement.canvas * 2)
    kept = suppress(corners, labels, how.iou_threshold, how.max_detections)
    return Detections(
        boxes=placement.boxes_to_source(corners[kept]),
        scores=found[kept].astype(np.float64),
        classes=labels[kept],
        score_max=float(scores.max()) if scores.size else 0.0,
        invalid=int((~sound).sum()),
    )


def split(outputs: Sequence[Any], classes: int) -> tuple[Any, Any]:
    """The raw boxes (N, 4) and class scores (N, classes) among a model's outputs.

    Raises:
        UsageError: neither one output of 4 + classes rows, nor one of 4 and one of `classes`.
    """
    import numpy as np

    arrays = [np.asarray(output) for output in outputs]
    whole = _rows(arrays, 4 + classes)
    if whole:
        return whole[0][:, :4], whole[0][:, 4:]
    # Where there are four classes as well, boxes come first.
    boxes, scores = _rows(arrays, 4)[:1], _rows(arrays, classes)[-1:]
    if boxes and scores and boxes[0] is not scores[0] and len(boxes[0]) == len(scores[0]):
        return boxes[0], scores[0]
    shapes = ", ".join(str(array.shape) for array in arrays) or "none"
    raise UsageError(
        f"the detections cannot be decoded from outputs of shape {shapes}",
        hint=f"The yolo decoder wants (1, {4 + classes}, N) or (1, N, {4 + classes}) for the"
        f" {classes} categories of the data set.",
    )


def _rows(arrays: Sequence[Any], count: int) -> list[Any]:
    """The arrays of one image that have `count` values per anchor, as (N, count).

    Where both axes have that length, values come before anchors.
    """
    planes = [a[0] for a in arrays if a.ndim == 3 and a.shape[0] == 1]
    return [
        plane.T if plane.shape[0] == count else plane for plane in planes if count in plane.shape
    ]


def suppress(boxes: Any, labels: Any, iou_threshold: float, limit: int) -> Any:
    """Greedy non-maximum suppression within each class.

    Args:
        boxes: (k, 4) x1 y1 x2 y2, best first.
        labels: (k,), boxes of different labels never suppress each other.
        iou_threshold: a box that overlaps a kept one by more than this is dropped.
        limit: the most boxes to keep.

    Returns:
        Indices of the kept boxes, ascending.
    """
    import numpy as np

    areas = np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(axis=1)
    left = np.arange(len(boxes))
    kept: list[int] = []
    while len(left) and len(kept) < limit:
        best, left = left[0], left[1:]
        kept.append(int(best))
        corner = np.maximum(boxes[best, :2], boxes[left, :2])
        sides = np.minimum(boxes[best, 2:], boxes[left, 2:]) - corner
        inter = np.maximum(sides, 0).prod(axis=1)
        union = areas[best] + areas[left] - inter
        left = left[(inter <= iou_threshold * union) | (labels[left] != labels[best])]
    return np.array(kept, dtype=np.int64)
