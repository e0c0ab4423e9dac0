"""The metric `mask-iou`: mean intersection over union of a semantic segmentation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convkit.errors import InputError, UsageError
from convkit.plugin import Artifact, MetricResult
from convkit_vision.dataset import PreparesAsDeclared

if TYPE_CHECKING:
    from convkit_vision.segmentation import SegmentationSettings
    from convkit_vision.transform import Transform

# The modules that do the work are imported inside methods: this one is loaded at every start.


class MaskIou(PreparesAsDeclared):
    """Mean IoU over the classes that occur, from images and PNG masks, or from arrays.

    A folder with `dataset.toml` ([transform], [segmentation]), `images/` and `masks/` (a `.png` of
    class numbers for every image, by the same name), or an array file with the samples and `y`
    (N, H, W). A mask is compared at its own size: the model's scores are enlarged to it, without
    the borders that letterboxing adds; what a centre crop cuts off does not count.
    """

    name = "mask-iou"
    requirements: tuple[str, ...] = ("pillow", "numpy")

    def inputs(
        self, data: Path, artifact: Artifact, limit: int | None
    ) -> Iterator[Sequence[Any]] | None:
        """The images in the order of their paths, transformed; arrays are left to their source.

        Raises:
            InputError: an image is unreadable, a mask is missing, or `dataset.toml` is wrong.
            UsageError: the model does not take single images of that shape.
        """
        from convkit_vision.label_arrays import holds_arrays
        from convkit_vision.labelled import image_samples

        if holds_arrays(data):
            return None
        transform, _, pairs = _load(data, limit, artifact)
        return image_samples([image for image, _ in pairs], artifact, transform)

    def score(
        self, data: Path, outputs: Iterable[Sequence[Any]], limit: int | None
    ) -> MetricResult:
        """See the class; `details` has `pixel_accuracy` and the IoU of each class.

        Raises:
            UsageError: outputs that are no segmentation or do not match the masks in number, or a
                label that is no class.
        """
        from convkit_vision import segmentation
        from convkit_vision.label_arrays import holds_arrays

        arrays = holds_arrays(data)
        how = segmentation.SegmentationSettings() if arrays else _load(data, limit, None)[1]
        confusion = segmentation.Confusion(how)
        count = 0
        for entry, output in zip_longest(_masks(data, limit), outputs):
            if entry is None or output is None:
                raise UsageError("the data set has another number of masks than there are outputs")
            where, mask, spot = entry
            seen, classes = segmentation.guess(output, how, mask.shape, spot)
            confusion.add(_unseen_ignored(mask, seen, how), seen, classes, where)
            count += 1
        value, details = confusion.result()
        return MetricResult(self.name, value, details, count)

    def picture(
        self, data: Path, outputs: Mapping[str, Sequence[Sequence[Any]]], path: Path
    ) -> bool:
        """There is none."""
        return False


def _unseen_ignored(mask: Any, seen: Any, how: SegmentationSettings) -> Any:
    """The mask without what the model was not shown."""
    import numpy as np

    return np.where(seen < 0, how.ignore, mask)


def _masks(data: Path, limit: int | None) -> Iterator[tuple[str, Any, Any]]:
    """Name, class numbers and placement of every mask."""
    from convkit_vision import pixels, segmentation
    from convkit_vision.geometry import place
    from convkit_vision.label_arrays import holds_arrays, labels_of

    if holds_arrays(data):
        labels = labels_of(data, limit)
        if labels.ndim != 3 or labels.dtype.kind not in "iu":
            raise InputError(
                f"{data}: y is {labels.dtype} {labels.shape}, not class numbers (N, height, width)"
            )
        for number, mask in enumerate(labels):
            yield f"{data}, row {number}", mask.astype("int64"), None
        return
    transform, _, pairs = _load(data, limit, None)
    for image, file in pairs:
        mask = segmentation.load_mask(file)
        width, height = pixels.size_of(image, InputError)
        if mask.shape != (height, width):
            raise InputError(
                f"mask {file} is {mask.shape[1]}x{mask.shape[0]}, its image {width}x{height}"
                " (width x height)"
            )
        yield f"mask {file}", mask, place(width, height, transform)


def _load(
    data: Path, limit: int | None, artifact: Artifact | None
) -> tuple[Transform, SegmentationSettings, list[tuple[Path, Path]]]:
    """The settings, and images with their masks."""
    from convkit_vision import pixels, settings
    from convkit_vision.dataset import SETTINGS, read_places, read_settings
    from convkit_vision.segmentation import IMAGES, MASKS, parse_segmentation

    transform, table = read_settings(data, "segmentation", artifact)
    where = f"{data / SETTINGS}: [segmentation]"
    how = settings.attempt(lambda: parse_segmentation(table), where, InputError)
    places = read_places(data, ("images", "masks"))
    images = places.get("images") or _first(data, IMAGES)
    masks = places.get("masks") or _first(data, MASKS)
    files = sorted(p for p in images.rglob("*") if pixels.is_image(p.name)) if images else []
    if images is None or masks is None or not files:
        raise InputError(
            f"{data} holds no images with masks",
            hint="Put images into images/ and a .png of class numbers for each into masks/, or say"
            f" in {SETTINGS} where they are: [data] images = ..., masks = ....",
        )
    chosen = files[:limit]
    pairs = [(f, (masks / f.relative_to(images)).with_suffix(".png")) for f in chosen]
    missing = [mask for _, mask in pairs if not mask.is_file()]
    if missing:
        raise InputError(
            f"mask {missing[0]} is missing ({len(missing)} of {len(pairs)})",
            hint="Every image needs a mask of the same name, as .png.",
        )
    return transform, how, pairs


def _first(data: Path, names: Sequence[str]) -> Path | None:
    return next((data / name for name in names if (data / name).is_dir()), None)
