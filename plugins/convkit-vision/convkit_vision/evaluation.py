"""COCO evaluation by faster-coco-eval."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from convkit.errors import UsageError
from convkit_vision.coco_data import CocoData, CocoImage
from convkit_vision.detection import Detections, DetectionSettings, detect
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

SHARES = 1.5
"""Boxes that all stay below it are no pixels; shares of the input reach little beyond 1."""
PIXELS = 4.0
"""Boxes beyond it are no shares of the input."""


class Tally:
    """What detections of a whole data set say about the model and about `dataset.toml`."""

    def __init__(self, how: DetectionSettings) -> None:
        self._how = how
        self._found = self._invalid = 0
        self._score_max = self._score_min = self._reach = 0.0

    def add(self, found: Detections) -> None:
        """Count one image."""
        self._found += len(found.scores)
        self._invalid += found.invalid
        self._score_max = max(self._score_max, found.score_max)
        self._score_min = min(self._score_min, found.score_min)
        self._reach = max(self._reach, found.reach)

    @property
    def counts(self) -> dict[str, float]:
        """For `MetricResult.details`."""
        return {
            "detections": self._found,
            "score_max": self._score_max,
            "invalid": self._invalid,
        }

    @property
    def problems(self) -> tuple[str, ...]:
        """For `MetricResult.problems`."""
        said = []
        if self._invalid:
            said.append(f"{self._invalid} boxes with NaN or infinity were left out")
        if not self._found:
            said.append(
                f"not a single detection: no score is above {self._how.score_threshold:g}, the best"
                f" is {self._score_max:.3g}"
            )
        if self._score_min < -0.01 or self._score_max > 1.01:
            said.append(
                f"scores from {self._score_min:.3g} to {self._score_max:.3g} are no probabilities:"
                ' if they are logits, declare activation = "sigmoid"; else the decoder is not the'
                " model's, or quantization gave them the scale of the boxes"
            )
        if self._found and self._how.box_units == "pixels" and 0 < self._reach < SHARES:
            said.append(
                f"no box reaches beyond {self._reach:.3g} pixels: declare box_units ="
                ' "normalized" if they are shares of the input'
            )
        if self._found and self._how.box_units == "normalized" and self._reach > PIXELS:
            said.append(
                f'boxes reach to {self._reach:.3g}: declare box_units = "pixels" if they are no'
                " shares of the input"
            )
        return tuple(said)


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
