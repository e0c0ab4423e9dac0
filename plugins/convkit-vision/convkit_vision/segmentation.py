"""Masks of semantic segmentation: read, brought to one size with a model's output, and counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convkit.errors import InputError, UsageError
from convkit_vision import settings
from convkit_vision.geometry import Placement

MASKS = ("masks", "labels", "annotations", "SegmentationClass")
IMAGES = ("images", "JPEGImages")


@dataclass(frozen=True)
class SegmentationSettings:
    """The `[segmentation]` table of a `dataset.toml`.

    Attributes:
        classes: names in the order of the scores; empty where the output tells how many there are.
        ignore: mask value that does not count.
        threshold: of a single score per pixel, above which it is class 1.
    """

    classes: tuple[str, ...] = ()
    ignore: int = 255
    threshold: float = 0.5


def parse_segmentation(table: Mapping[str, Any]) -> SegmentationSettings:
    """Read a `[segmentation]` table.

    Raises:
        SettingError: an unknown key, or a wrong type or value.
    """
    settings.check_keys(table, ("classes", "ignore", "threshold"))
    classes = table.get("classes", [])
    if not isinstance(classes, list) or not all(isinstance(c, str) for c in classes):
        raise settings.SettingError("classes must be a list of names")
    return SegmentationSettings(
        tuple(classes),
        settings.integer("ignore", table.get("ignore", 255), -1, 1 << 16),
        settings.number("threshold", table.get("threshold", 0.5)),
    )


def load_mask(path: Path) -> Any:
    """An (H, W) array of class numbers from a PNG: gray values, or the indices of a palette.

    Raises:
        InputError: unreadable, or a coloured picture.
    """
    import numpy as np
    from PIL import Image

    try:
        with Image.open(path, formats=["PNG"]) as image:
            mode = image.mode
            array = np.asarray(image)
    except FileNotFoundError as exc:
        raise InputError(
            f"mask {path} is missing", hint="Every image needs a mask of the same name, as .png."
        ) from exc
    except Exception as exc:  # Pillow's decoders raise almost anything on a damaged file
        raise InputError(f"mask {path} cannot be read: {exc}") from exc
    if array.ndim != 2:
        raise InputError(
            f"mask {path} is a coloured picture (mode {mode})",
            hint="A mask holds class numbers, as gray values or as the indices of a palette.",
        )
    return array.astype(np.int64)


class Confusion:
    """How often each class was taken for each other one.

    Counted with numpy: intersection over union of classes is a table of counts, and the libraries
    that offer it either bring torch along (torchmetrics) or want every pixel of the data set in
    memory at once (scikit-learn, with which the tests compare).
    """

    def __init__(self, how: SegmentationSettings) -> None:
        self._how = how
        self._table: Any = None

    def add(self, truth: Any, guess: Any, classes: int, where: str) -> None:
        """Count one image.

        Args:
            truth, guess: (H, W) class numbers.
            where: the mask, for messages.

        Raises:
            UsageError: a label that is no class.
        """
        import numpy as np

        if self._table is None:
            self._table = np.zeros((classes, classes), np.int64)
        valid = truth != self._how.ignore
        labels = truth[valid]
        if labels.size and not 0 <= labels.min() <= labels.max() < classes:
            wrong = labels[(labels < 0) | (labels >= classes)][0]
            raise UsageError(
                f"{where} holds class {wrong}, but the model gives {classes} classes"
                f" (0 to {classes - 1})",
                hint=f"Declare ignore = {wrong} under [segmentation] where it marks no class.",
            )
        pairs = labels * classes + np.clip(guess[valid], 0, classes - 1)
        self._table += np.bincount(pairs, minlength=classes**2).reshape(classes, classes)

    def result(self) -> tuple[float, dict[str, float]]:
        """Mean IoU over the classes that occur in masks or guesses, and details.

        Raises:
            UsageError: no pixel is labelled.
        """
        import numpy as np

        table = self._table
        if table is None or not table.sum():
            raise UsageError("no pixel of the masks is labelled")
        right = np.diag(table).astype(np.float64)
        union = table.sum(0) + table.sum(1) - right
        occurs = union > 0
        each = {
            f"iou_{self._name(i)}": float(right[i] / union[i])
            for i in np.nonzero(occurs)[0].tolist()
        }
        details = {"pixel_accuracy": float(right.sum() / table.sum()), **each}
        return float((right[occurs] / union[occurs]).mean()), details

    def _name(self, index: int) -> str:
        names = self._how.classes
        return names[index] if index < len(names) else str(index)


def guess(
    outputs: Sequence[Any], how: SegmentationSettings, size: tuple[int, int], spot: Placement | None
) -> tuple[Any, int]:
    """Class numbers (H, W) at the size of the mask, and how many classes there are; a pixel that
    the model did not see is -1, NaN among its scores class 0.

    Scores are enlarged bilinearly and compared then, class numbers repeated.

    Args:
        size: (height, width) of the mask.
        spot: where the image lies on the model's input; None where mask and input coincide.

    Raises:
        UsageError: no output has a shape that is known.
    """
    import numpy as np

    scores, numbers = _plane(outputs, how)
    height, width = size
    view = _View.of(spot, size, (scores if scores is not None else numbers).shape[-2:])
    seen = np.full((height, width), -1, np.int64)
    if scores is None:
        part = view.take(numbers.astype(np.float32), nearest=True)
        seen[view.rows, view.columns] = np.round(part).astype(np.int64)
        return seen, max(len(how.classes), int(numbers.max()) + 1, 1)
    if len(scores) == 1:
        part = view.take(np.nan_to_num(scores[0]), nearest=False)
        seen[view.rows, view.columns] = part > how.threshold
        return seen, 2
    best = view.take(np.nan_to_num(scores[0]), nearest=False)
    label = np.zeros(best.shape, np.int64)
    for index in range(1, len(scores)):  # one by one: all at once would fill the memory
        part = view.take(np.nan_to_num(scores[index]), nearest=False)
        better = part > best
        label[better], best = index, np.maximum(best, part)
    seen[view.rows, view.columns] = label
    return seen, len(scores)


@dataclass(frozen=True)
class _View:
    """What of an output shows which part of the mask.

    Attributes:
        box: left, top, right, bottom on the output, in its pixels.
        rows, columns: of the mask.
    """

    box: tuple[float, float, float, float]
    rows: slice
    columns: slice

    @classmethod
    def of(cls, spot: Placement | None, size: tuple[int, int], plane: tuple[int, int]) -> _View:
        height, width = size
        if spot is None:
            return cls((0, 0, plane[1], plane[0]), slice(0, height), slice(0, width))
        spans = []
        for axis, total, cells in ((0, width, plane[1]), (1, height, plane[0])):
            offset = spot.left if axis == 0 else spot.top
            first, last = max(offset, 0), min(offset + spot.resized[axis], spot.canvas[axis])
            scale = total / spot.resized[axis]
            shown = slice(round((first - offset) * scale), round((last - offset) * scale))
            ratio = cells / spot.canvas[axis]
            spans.append((first * ratio, last * ratio, shown))
        (left, right, columns), (top, bottom, rows) = spans
        return cls((left, top, right, bottom), rows, columns)

    def take(self, plane: Any, nearest: bool) -> Any:
        """One (h, w) plane of the output, at the size of the part of the mask."""
        import numpy as np
        from PIL import Image

        method = Image.Resampling.NEAREST if nearest else Image.Resampling.BILINEAR
        size = (self.columns.stop - self.columns.start, self.rows.stop - self.rows.start)
        image = Image.fromarray(np.ascontiguousarray(plane, np.float32))
        return np.asarray(image.resize(size, method, box=self.box))


def _plane(outputs: Sequence[Any], how: SegmentationSettings) -> tuple[Any, Any]:
    """Scores (C, h, w), or else class numbers (h, w), of one image."""
    import numpy as np

    count = len(how.classes)
    arrays = [np.asarray(output) for output in outputs]
    for array in arrays:
        if array.ndim == 3 and array.shape[0] == 1 and array.dtype.kind in "iu":
            return None, array[0]
        if array.ndim != 4 or array.shape[0] != 1:
            continue
        axis = _class_axis(array.shape, 1 if array.dtype.kind in "iu" else count)
        if axis is None:
            continue
        planes = np.moveaxis(array[0], axis - 1, 0)
        return (None, planes[0]) if array.dtype.kind in "iu" else (planes, None)
    shapes = ", ".join(f"{a.dtype} {a.shape}" for a in arrays) or "none"
    wants = count or "C"
    raise UsageError(
        f"no output is a segmentation: they are {shapes}",
        hint=f"Scores (1, {wants}, h, w) or (1, h, w, {wants}) are wanted, or class numbers"
        " (1, h, w) as integers.",
    )


def _class_axis(shape: Sequence[int], count: int) -> int | None:
    """The axis of the classes, 1 or 3; None where none fits. Where their number is not declared it
    is the shorter one."""
    if not count:
        return 3 if shape[3] < shape[1] else 1
    wanted = (count, 1) if count == 2 else (count,)  # one score says it for two classes
    return next((axis for size in wanted for axis in (1, 3) if shape[axis] == size), None)
