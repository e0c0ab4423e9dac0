"""Does the mAP of two models differ, or is it the luck of the images? A paired bootstrap.

Method: percentile bootstrap over images, in pairs (Efron and Tibshirani, An Introduction to the
Bootstrap, 1993, chapters 8 and 13). Each resample draws as many images as there are, with
replacement, and gives both models the same draw, so that the difficulty of the images cancels out
of the difference.

Detections are matched to objects once, by COCO's rules; whether a match holds depends on its own
image only. A resample then needs no matching: an image that was drawn w times counts w times in
the precision-recall curve of every class. That gives what evaluating the drawn images anew would
give, many times faster. Detections of equal score, of which quantized models have many, keep in all
resamples the order that COCO gives them among all images.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from convkit.errors import UsageError

MAX_DETECTIONS = 100
"""COCO looks at this many detections per image and class."""


@dataclass(frozen=True)
class PairedDifference:
    """Second minus first, in mAP@0.5:0.95.

    Attributes:
        first, second: mAP of each on all images.
        difference: `second - first`.
        low, high: the confidence interval of the difference.
        confidence: its nominal coverage, such as 0.95.
        resamples, images: how many of each.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    confidence: float
    resamples: int
    images: int

    @property
    def differs(self) -> bool:
        """Whether the interval leaves out zero."""
        return not self.low <= 0 <= self.high


def paired_bootstrap(
    truth: Mapping[str, Any],
    first: Sequence[Mapping[str, Any]],
    second: Sequence[Mapping[str, Any]],
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> PairedDifference:
    """Confidence interval of the difference in mAP between two models on the same images.

    Args:
        truth: a COCO document, such as `CocoData.truth`.
        first, second: detections of each model in COCO's result format.

    Raises:
        UsageError: no labelled object, or settings out of bounds.
    """
    import numpy as np

    if resamples < 1 or not 0 < confidence < 1:
        raise UsageError("a bootstrap needs resamples >= 1 and 0 < confidence < 1")
    ids = [image["id"] for image in truth["images"]]
    curves = [match(truth, results) for results in (first, second)]
    whole = [mean_average_precision(c, np.ones(len(ids))) for c in curves]
    if np.isnan(whole).any():
        raise UsageError("mAP is undefined: the images have no labelled object")
    rng = np.random.default_rng(seed)
    differences: list[float] = []
    while len(differences) < resamples:
        weights = np.bincount(rng.integers(0, len(ids), len(ids)), minlength=len(ids))
        a, b = (mean_average_precision(c, weights.astype(np.float64)) for c in curves)
        if not np.isnan(a):  # a draw without any object says nothing; both are NaN then
            differences.append(b - a)
    tail = (1 - confidence) / 2
    low, high = np.quantile(differences, [tail, 1 - tail])
    return PairedDifference(
        first=whole[0],
        second=whole[1],
        difference=whole[1] - whole[0],
        low=float(low),
        high=float(high),
        confidence=confidence,
        resamples=resamples,
        images=len(ids),
    )


@dataclass(frozen=True)
class ClassMatches:
    """All detections of one class, best first, matched to its objects.

    D detections, T IoU thresholds, I images, H the most matches at any threshold.

    Attributes:
        image: (D + 1,) index of each detection's image; the last entry is a stand-in.
        hits: (T, H) positions of detections that match an object, ascending; padded with D.
        ignored: (T, D + 1) matched to a crowd region, hence neither right nor wrong; None where
            there is none.
        objects: (I,) objects per image, crowd regions left out.
    """

    image: Any
    hits: Any
    ignored: Any
    objects: Any


def match(truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> list[ClassMatches]:
    """Match detections to objects, class by class, by COCO's rules over objects of every size."""
    position = {image["id"]: index for index, image in enumerate(truth["images"])}
    objects: dict[tuple[int, int], list[Mapping[str, Any]]] = defaultdict(list)
    found: dict[tuple[int, int], list[Mapping[str, Any]]] = defaultdict(list)
    for annotation in truth["annotations"]:
        objects[annotation["category_id"], position[annotation["image_id"]]].append(annotation)
    for result in results:
        found[result["category_id"], position[result["image_id"]]].append(result)
    return [
        _match_class(category["id"], len(position), objects, found)
        for category in truth["categories"]
    ]


def mean_average_precision(matches: Sequence[ClassMatches], weights: Any) -> float:
    """mAP@0.5:0.95 when image i counts `weights[i]` times; NaN without any object.

    Classes without an object among the images that count are left out, as in COCO.
    """
    import numpy as np

    values = [_average_precision(m, weights) for m in matches]
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else float("nan")


def _thresholds() -> tuple[Any, Any]:
    """COCO's IoU thresholds and recall points, computed as COCO does, to the bit."""
    import numpy as np

    return np.linspace(0.5, 0.95, 10), np.linspace(0.0, 1.0, 101)


def _match_class(
    category: int,
    images: int,
    objects: Mapping[tuple[int, int], Sequence[Mapping[str, Any]]],
    found: Mapping[tuple[int, int], Sequence[Mapping[str, Any]]],
) -> ClassMatches:
    import numpy as np

    thresholds, _ = _thresholds()
    scores: list[float] = []
    image: list[int] = []
    right: list[Any] = []
    ignored: list[Any] = []
    counts = np.zeros(images)
    for index in range(images):
        mine = objects.get((category, index), ())
        counts[index] = sum(not a["iscrowd"] for a in mine)
        ranked = sorted(found.get((category, index), ()), key=lambda r: -r["score"])
        ranked = ranked[:MAX_DETECTIONS]
        hit, crowd = _match_image(ranked, mine, thresholds)
        scores += [r["score"] for r in ranked]
        image += [index] * len(ranked)
        right.append(hit)
        ignored.append(crowd)
    order = np.argsort(-np.array(scores, np.float64), kind="stable")
    total = len(order)
    hits_of = np.concatenate(right, axis=1)[:, order] if right else np.zeros((10, 0), bool)
    crowds = np.concatenate(ignored, axis=1)[:, order] if ignored else hits_of
    lists = [np.nonzero(row)[0] for row in hits_of]
    hits = np.full((len(thresholds), max(map(len, lists))), total)
    for row, positions in zip(hits, lists, strict=True):
        row[: len(positions)] = positions
    padded = np.pad(crowds, ((0, 0), (0, 1)))
    return ClassMatches(
        image=np.append(np.array(image, np.int64)[order], 0),
        hits=hits,
        ignored=padded if crowds.any() else None,
        objects=counts,
    )


def _match_image(
    ranked: Sequence[Mapping[str, Any]], objects: Sequence[Mapping[str, Any]], thresholds: Any
) -> tuple[Any, Any]:
    """Which detections of one image and class match an object, and which a crowd region; (T, k)
    each. Better detections choose first, and choose the object that they overlap most."""
    import numpy as np

    hit = np.zeros((len(thresholds), len(ranked)), bool)
    crowd = np.zeros_like(hit)
    if not ranked or not objects:
        return hit, crowd
    from faster_coco_eval import mask

    objects = sorted(objects, key=lambda a: a["iscrowd"])  # crowd regions last
    crowds = np.array([a["iscrowd"] for a in objects], bool)
    overlaps = np.asarray(
        mask.iou(
            np.array([r["bbox"] for r in ranked], np.float64),
            np.array([a["bbox"] for a in objects], np.float64),
            [int(c) for c in crowds],
        )
    )
    for t, threshold in enumerate(thresholds):
        free = np.ones(len(objects), bool)
        for d in np.nonzero(overlaps.max(axis=1) >= threshold)[0]:
            for kind in (~crowds, crowds):  # a crowd region only where no object is left
                # Reversed: of equal overlaps COCO takes the last.
                able = np.nonzero(kind & free & (overlaps[d] >= threshold))[0][::-1]
                if len(able):
                    best = able[np.argmax(overlaps[d, able])]
                    hit[t, d], crowd[t, d] = not crowds[best], crowds[best]
                    free[best] = crowds[best]  # a crowd region matches any number
                    break
    return hit, crowd


def _average_precision(matches: ClassMatches, weights: Any) -> float | None:
    """AP over the IoU thresholds, with COCO's 101-point interpolation."""
    import numpy as np

    objects = float(matches.objects @ weights)
    if not objects:
        return None
    if not matches.hits.shape[1]:
        return 0.0
    _, recalls = _thresholds()
    weight = weights[matches.image]
    weight[-1] = 0.0  # the stand-in
    right = np.cumsum(weight[matches.hits], axis=1)
    if matches.ignored is None:
        seen = np.cumsum(weight)[matches.hits]
    else:
        counted = np.cumsum(np.where(matches.ignored, 0.0, weight), axis=1)
        seen = np.take_along_axis(counted, matches.hits, axis=1)
    precision = right / (seen + np.spacing(1))
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    reached = right / objects
    points = np.zeros((len(reached), len(recalls)))
    for row, recall, best in zip(points, reached, envelope, strict=True):
        at = np.searchsorted(recall, recalls, side="left")
        inside = at < len(recall)
        row[inside] = best[at[inside]]
    return float(points.mean())
