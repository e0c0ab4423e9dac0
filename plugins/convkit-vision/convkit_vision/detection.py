"""From a detector's raw outputs to detections: decoding and non-maximum suppression.

The decoder is declared, never guessed: the same six columns are two classes of one detector and the
finished boxes of another. What can be told from shapes and values is checked, and an error says
which declaration would fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from convkit.errors import UsageError
from convkit_vision import settings
from convkit_vision.geometry import Placement
from convkit_vision.suppression import suppress

DECODERS = ("yolo", "yolov5", "end-to-end")
ACTIVATIONS = ("none", "sigmoid", "softmax")
BACKGROUNDS = ("none", "first", "last")
BOX_FORMATS = ("cxcywh", "xyxy", "yxyx")
BOX_UNITS = ("pixels", "normalized")
ROLES = ("boxes", "scores", "classes", "count", "other")
MAX_CANDIDATES = 30_000
"""Candidates that enter suppression, best first, so that a model whose scores all lie above the
threshold cannot make it run forever (the same bound as in ultralytics)."""
WHOLE = 0.05
"""A class number may be so far from a whole number: integers that went through a scale."""


@dataclass(frozen=True)
class DetectionSettings:
    """The `[detection]` table of a `dataset.toml`.

    Attributes:
        decoder: `yolo`: an output (1, 4 + C, N) or (1, N, 4 + C), boxes then class scores, or two
            outputs with 4 and C values per box. `yolov5`: 5 + C, an objectness between them that
            multiplies the class scores. `end-to-end`: suppressed already, an output (1, K, 6) of
            box, score, class, or outputs of their own for boxes, scores and classes.
        activation: what makes scores of the outputs: `none` where they are in 0..1 already.
        background: which class column stands for no object; there is then one more than classes.
        score_threshold: detections above it enter; low, since mAP wants the whole curve.
        iou_threshold: a box is suppressed by a better one of its class that overlaps it by more.
        max_detections: kept per image.
        box_format: `cxcywh`, `xyxy` or `yxyx`; by default what the decoder's models usually have.
        box_units: `pixels` of the model's input, or `normalized` to 0..1.
        outputs: what each output is, in the model's order, where shapes and types do not tell.
        first_class: the number of the first class where outputs name classes.
        categories: COCO category id of each class; empty for the ids in ascending order.
        classes: names, for data without labels.
    """

    decoder: str = "yolo"
    activation: str = "none"
    background: str = "none"
    score_threshold: float = 0.001
    iou_threshold: float = 0.6
    max_detections: int = 100
    box_format: str = "cxcywh"
    box_units: str = "pixels"
    outputs: tuple[str, ...] = ()
    first_class: int = 0
    categories: tuple[int, ...] = ()
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Detections:
    """What was found in one image, best first.

    Attributes:
        boxes: float64 (k, 4), x1 y1 x2 y2.
        scores: float64 (k,).
        classes: int64 (k,), index of the class.
        score_max: the best finite score of the raw output, thresholds aside; 0 if none.
        score_min: the lowest one, likewise.
        reach: the largest coordinate among what was found, in the units of the output.
        invalid: boxes left out because a value was NaN or infinite.
    """

    boxes: Any
    scores: Any
    classes: Any
    score_max: float = 0.0
    score_min: float = 0.0
    reach: float = 0.0
    invalid: int = 0


def parse_detection(table: Mapping[str, Any]) -> DetectionSettings:
    """Read a `[detection]` table.

    Raises:
        SettingError: an unknown key, a wrong type or value, or a contradiction.
    """
    plain = DetectionSettings()
    settings.check_keys(table, plain.__dataclass_fields__)
    value = {**{key: getattr(plain, key) for key in plain.__dataclass_fields__}, **table}
    for key in ("outputs", "categories", "classes"):
        if not isinstance(value[key], list | tuple):
            kind = "category ids" if key == "categories" else "names"
            raise settings.SettingError(f"{key} must be a list of {kind}")
    decoder = settings.choice("decoder", value["decoder"], DECODERS)
    if decoder == "end-to-end" and "box_format" not in table:
        value["box_format"] = "xyxy"
    found = DetectionSettings(
        decoder=decoder,
        activation=settings.choice("activation", value["activation"], ACTIVATIONS),
        background=settings.choice("background", value["background"], BACKGROUNDS),
        score_threshold=settings.number("score_threshold", value["score_threshold"], 0, 1),
        iou_threshold=settings.number("iou_threshold", value["iou_threshold"], 0, 1),
        max_detections=settings.integer("max_detections", value["max_detections"], 1, 10_000),
        box_format=settings.choice("box_format", value["box_format"], BOX_FORMATS),
        box_units=settings.choice("box_units", value["box_units"], BOX_UNITS),
        outputs=tuple(settings.choice("outputs", item, ROLES) for item in value["outputs"]),
        first_class=settings.integer("first_class", value["first_class"], 0, 1),
        categories=tuple(
            settings.integer("categories", item, 0, 1 << 31) for item in value["categories"]
        ),
        classes=tuple(str(item) for item in value["classes"]),
    )
    if decoder != "yolo" and found.background != "none":
        raise settings.SettingError(f"background is for decoder yolo, not for {decoder}")
    allowed = {"yolo": ACTIVATIONS, "yolov5": ("none", "sigmoid"), "end-to-end": ("none",)}
    if found.activation not in allowed[decoder]:
        raise settings.SettingError(f"activation {found.activation} is not for {decoder}")
    if found.outputs and "boxes" not in found.outputs:
        raise settings.SettingError("outputs must name one of them boxes")
    return found


def detect(
    outputs: Sequence[Any], classes: int, how: DetectionSettings, placement: Placement
) -> Detections:
    """Decode one image's outputs, suppress duplicates, and undo the image's placement.

    Multi-label, as COCO evaluation has it: a box counts once for every class above the threshold.
    Boxes with values that are not finite are left out. Outputs of an `end-to-end` model are not
    suppressed again.

    Raises:
        UsageError: no output has a shape that the decoder knows, or a class that does not exist.
    """
    import numpy as np

    arrays = [np.asarray(output) for output in outputs]
    if how.decoder == "end-to-end":
        boxes, best, labels = _finished(arrays, how)
        sound = np.isfinite(boxes).all(axis=1) & np.isfinite(best) & np.isfinite(labels)
        raw = best[sound]
        rows = np.nonzero(sound & (best > how.score_threshold))[0]
        at, found = rows, best[rows]
        labels = _whole(labels[rows], classes, how)
    else:
        boxes, columns = _raw(arrays, classes, how)
        sound = np.isfinite(boxes).all(axis=1) & np.isfinite(columns).all(axis=1)
        boxes, scores = boxes[sound], _scores(columns[sound], how)
        raw = scores
        at, labels = np.nonzero(scores > how.score_threshold)
        found = scores[at, labels]
    order = np.argsort(-found, kind="stable")[:MAX_CANDIDATES]
    at, labels, found = at[order], labels[order], found[order]
    corners = _corners(boxes[at].astype(np.float64), how.box_format)
    reach = float(np.abs(corners).max()) if corners.size else 0.0
    if how.box_units == "normalized":
        corners = corners * np.array(placement.canvas * 2)
    if how.decoder == "end-to-end":
        kept = np.arange(min(len(corners), how.max_detections))
    else:
        kept = suppress(corners, labels, how.iou_threshold, how.max_detections)
    return Detections(
        boxes=placement.boxes_to_source(corners[kept]),
        scores=found[kept].astype(np.float64),
        classes=labels[kept],
        score_max=float(raw.max()) if raw.size else 0.0,
        score_min=float(raw.min()) if raw.size else 0.0,
        reach=reach,
        invalid=int((~sound).sum()),
    )


def split(
    outputs: Sequence[Any], classes: int, how: DetectionSettings = DetectionSettings()
) -> tuple[Any, Any]:
    """The raw boxes (N, 4) and class scores (N, classes) among a model's outputs, decoder `yolo`.

    Raises:
        UsageError: neither one output of 4 + classes values, nor one of 4 and one of `classes`.
    """
    import numpy as np

    return _raw([np.asarray(output) for output in outputs], classes, how)


def _raw(arrays: Sequence[Any], classes: int, how: DetectionSettings) -> tuple[Any, Any]:
    """Boxes, and the columns that `_scores` makes class scores of, as the model gives them."""
    columns = classes + (how.background != "none")
    if how.decoder == "yolov5":
        whole = _rows(arrays, 5 + classes)
        if not whole:
            raise _unknown(arrays, classes, how)
        return whole[0][:, :4], whole[0][:, 4:]
    whole = _rows(arrays, 4 + columns)
    if whole and not how.outputs:
        _check_not_finished(whole[0])
        return whole[0][:, :4], whole[0][:, 4:]
    if how.outputs:
        named = _named(arrays, how)
        boxes = _rows([named["boxes"]], 4)[:1]
        scores = _rows([named["scores"]], columns)[:1] if "scores" in named else []
    else:  # where there are four classes as well, boxes come first
        boxes, scores = _rows(arrays, 4)[:1], _rows(arrays, columns)[-1:]
    if boxes and scores and boxes[0] is not scores[0] and len(boxes[0]) == len(scores[0]):
        return boxes[0], scores[0]
    raise _unknown(arrays, classes, how)


def _finished(arrays: Sequence[Any], how: DetectionSettings) -> tuple[Any, Any, Any]:
    """Boxes (K, 4), scores (K,) and classes (K,) of an end-to-end model."""
    import numpy as np

    if not how.outputs:
        tables = [t for a in arrays if (t := _table(a, 6)) is not None]
        if tables:
            return tables[0][:, :4], tables[0][:, 4], tables[0][:, 5]
    named = _named(arrays, how) if how.outputs else _by_type(arrays)
    if not {"boxes", "scores", "classes"} <= named.keys():
        raise _unknown(arrays, 0, how)
    boxes = _table(named["boxes"], 4)
    lists = [np.asarray(named[role]).reshape(-1) for role in ("scores", "classes")]
    if boxes is None or not len(boxes) == len(lists[0]) == len(lists[1]):
        raise _unknown(arrays, 0, how)
    count = len(boxes)
    if "count" in named:
        count = min(count, max(0, round(float(np.asarray(named["count"]).reshape(-1)[0]))))
    return boxes[:count], lists[0][:count], lists[1][:count].astype(np.float64)


def _by_type(arrays: Sequence[Any]) -> dict[str, Any]:
    """Roles told by shape and type: classes are integers. Values tell nothing: scores of an image
    without objects are whole numbers too."""
    named: dict[str, Any] = {}
    for array in arrays:
        if _table(array, 4) is not None and "boxes" not in named:
            named["boxes"] = array
        elif array.size == 1 and array.dtype.kind in "iu" and "classes" in named:
            named["count"] = array
        elif array.dtype.kind in "iu":
            named.setdefault("classes", array)
        else:
            named.setdefault("scores", array)
    return named


def _named(arrays: Sequence[Any], how: DetectionSettings) -> dict[str, Any]:
    if len(arrays) != len(how.outputs):
        raise UsageError(
            f"the model has {len(arrays)} outputs, but [detection] outputs names"
            f" {len(how.outputs)}",
            hint='Name each one; "other" stands for those that are not needed.',
        )
    return dict(zip(how.outputs, arrays, strict=True))


def _table(array: Any, columns: int) -> Any:
    """A (K, columns) table, of one image; None where it is none."""
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    return array if array.ndim == 2 and array.shape[1] == columns else None


def _rows(arrays: Sequence[Any], count: int) -> list[Any]:
    """The arrays of one image that have `count` values per box, as (N, count).

    Where both axes have that length, values come before boxes.
    """
    planes = [a[0] for a in arrays if a.ndim == 3 and a.shape[0] == 1]
    return [
        plane.T if plane.shape[0] == count else plane for plane in planes if count in plane.shape
    ]


def _check_not_finished(rows: Any) -> None:
    """Two classes make six columns, as many as finished boxes have.

    Raises:
        UsageError: the columns are those of an end-to-end model: corners, scores that only
            descend, and class numbers behind them, of which one is not 0.
    """
    import numpy as np

    if rows.shape[1] != 6 or len(rows) < 2 or not np.isfinite(rows).all():
        return
    scores, labels = rows[:, 4], rows[:, 5]
    descends = bool((np.diff(scores) <= 0).all() and scores[0] > scores[-1])
    corners = bool((rows[:, 2:4] >= rows[:, :2]).all())
    if descends and corners and labels.any() and np.array_equal(labels, np.round(labels)):
        raise UsageError(
            "the six columns of the output look like finished boxes: scores that only descend, and"
            " whole numbers",
            hint='Declare decoder = "end-to-end" under [detection].',
        )


def _scores(columns: Any, how: DetectionSettings) -> Any:
    """Class scores in 0..1: activated, objectness multiplied in, background left out."""
    import numpy as np

    if how.activation == "sigmoid":
        columns = 1 / (1 + np.exp(-np.clip(columns.astype(np.float64), -60, 60)))
    elif how.activation == "softmax" and len(columns):
        powers = np.exp(columns.astype(np.float64) - columns.max(axis=1, keepdims=True))
        columns = powers / powers.sum(axis=1, keepdims=True)
    if how.decoder == "yolov5":
        return columns[:, :1] * columns[:, 1:]
    if how.background == "first":
        return columns[:, 1:]
    return columns[:, :-1] if how.background == "last" else columns


def _whole(labels: Any, classes: int, how: DetectionSettings) -> Any:
    """Class indices from the numbers that an output gives.

    Raises:
        UsageError: a number that is no class.
    """
    import numpy as np

    rounded = np.round(labels)
    index = rounded.astype(np.int64) - how.first_class
    wrong = (np.abs(labels - rounded) > WHOLE) | (index < 0) | (index >= classes)
    if wrong.any():
        low, high = how.first_class, how.first_class + classes - 1
        raise UsageError(
            f"an output names class {float(labels[wrong][0]):g}, but classes are whole numbers from"
            f" {low} to {high}",
            hint="Declare first_class = 1 where counting starts at 1, outputs = [...] where score"
            " and class are mixed up, or categories for the classes that the model has.",
        )
    return index


def _corners(boxes: Any, form: str) -> Any:
    """Boxes as x1 y1 x2 y2."""
    import numpy as np

    if form == "cxcywh":
        half = boxes[:, 2:] / 2
        return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)
    return boxes[:, [1, 0, 3, 2]] if form == "yxyx" else boxes


def _unknown(arrays: Sequence[Any], classes: int, how: DetectionSettings) -> UsageError:
    """The error for outputs that the decoder does not know, with the declaration that would fit."""
    shapes = ", ".join(f"{array.shape}" for array in arrays) or "none"
    columns = classes + (how.background != "none")
    if how.decoder == "end-to-end":
        wants = (
            "one output (1, K, 6) of box, score and class, or boxes (1, K, 4), scores (1, K) and"
            ' classes (1, K), named by outputs = ["boxes", "scores", "classes"] where the classes'
            " are no integers"
        )
    elif how.decoder == "yolov5":
        wants = f"(1, N, {5 + classes}): box, objectness, scores of {classes} categories"
    else:
        wants = (
            f"(1, {4 + columns}, N) or (1, N, {4 + columns}) for the {classes} categories of the"
            f" data set, or two outputs with 4 and {columns} values per box"
        )
    hint = f"The {how.decoder} decoder wants {wants}."
    if how.decoder != "yolov5" and classes and _rows(arrays, 5 + classes):
        hint += f' {5 + classes} values per box: decoder = "yolov5", if one is an objectness'
        hint += ', or background = "first" or "last".' if how.decoder == "yolo" else "."
    elif how.decoder != "end-to-end" and any(_table(a, 6) is not None for a in arrays):
        hint += ' Six columns are what decoder = "end-to-end" takes.'
    elif how.decoder != "yolo" and classes and _rows(arrays, 4 + classes):
        hint += f' {4 + classes} values per box are what decoder = "yolo" takes.'
    elif any(a.ndim == 5 for a in arrays):
        hint += " Five axes are a head's raw grids: export the model with its decoding included."
    return UsageError(f"the detections cannot be decoded from outputs of shape {shapes}", hint=hint)
