"""COCO evaluation by faster-coco-eval."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from convkit.errors import UsageError
from convkit_vision.coco_data import CocoData, CocoImage
from convkit_vision.detection import Detections, detect
from convkit_vision.geometry import place

# Positions in the library's `stats`, which are those of pycocotools.
_STATS = {
    "map": 0,
    "map50": 1,
    "map75": 2,
    "map_small": 3,
    "map_medium": 4,
    "map_large": 5,
    "recall": 8,
}
_MISSING: Any = object()


def detections(
    data: CocoData, outputs: Iterable[Sequence[Any]]
) -> Iterator[tuple[CocoImage, Detections]]:
    """Pair every image of the set with what a model found in it, boxes in the image's pixels.

    Raises:
        UsageError: more or fewer outputs than images, or of an unknown shape.
    """
    image: Any
    for image, output in zip_longest(data.images, outputs, fillvalue=_MISSING):
        if image is _MISSING or output is _MISSING:
            raise UsageError(
                f"the data set has {len(data.images)} images, but there are"
                f" {'more' if image is _MISSING else 'fewer'} outputs"
            )
        spot = place(image.width, image.height, data.transform)
        yield image, detect(output, len(data.categories), data.detection, spot)


def coco_results(image_id: int, found: Detections, categories: Sequence[int]) -> list[Any]:
    """The detections of one image in COCO's result format."""
    return [
        {
            "image_id": image_id,
            "category_id": categories[label],
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": score,
        }
        for (x1, y1, x2, y2), score, label in zip(
            found.boxes.tolist(), found.scores.tolist(), found.classes.tolist(), strict=True
        )
    ]


def coco_statistics(
    truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    """mAP and its companions.

    Args:
        truth: a COCO document.
        results: in COCO's result format; may be empty.

    Returns:
        `map` (over IoU 0.5 to 0.95), `map50`, `map75`, `map_small`, `map_medium`, `map_large`, and
        `recall` (average recall at 100 detections), each 0..1. What is undefined, because no object
        of that size exists, is left out.
    """
    from copy import deepcopy

    from faster_coco_eval import COCO, COCOeval_faster

    def quiet(*_: object) -> None:
        """Evaluators print; plugins do not."""

    # Copies, since the library writes into both.
    reference = COCO(deepcopy(dict(truth)))
    run = COCOeval_faster(
        reference, reference.loadRes(deepcopy(list(results))), "bbox", print_function=quiet
    )
    run.evaluate()
    run.accumulate()
    run.summarize()
    values = {name: float(run.stats[at]) for name, at in _STATS.items()}
    return {name: value for name, value in values.items() if value >= 0}
