"""COCO mAP of a detector on a bundled data set, with faster-coco-eval."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray

from convkit_samples.coco import read_image

Array = NDArray[np.float32]
Predict = Callable[[Array], Array]
"""Images float32 (1, 3, S, S), RGB 0..1, to a prediction float32 (1, 4 + classes, anchors)."""

SCORE_THRESHOLD, IOU_THRESHOLD, MAX_DETECTIONS = 0.001, 0.6, 100


def to_input(image: NDArray[np.uint8]) -> Array:
    """RGB uint8 (S, S, 3) to the model's input float32 (1, 3, S, S), 0..1."""
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32) / np.float32(255)


def _overlaps(box: Array, others: Array) -> Array:
    """IoU of one box (4,) with others (k, 4), x1 y1 x2 y2; shape (k,)."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    inter = sides.clip(0).prod(1)
    areas = (others[:, 2:] - others[:, :2]).prod(1) + (box[2:] - box[:2]).prod()
    overlaps: Array = inter / (areas - inter + 1e-9)
    return overlaps


def detections(prediction: Array) -> tuple[Array, Array, NDArray[np.int64]]:
    """Non-maximum suppression of one prediction (4 + classes, anchors), class by class.

    Returns boxes (k, 4) x1 y1 x2 y2 in pixels, scores (k,) and classes (k,), best first.
    """
    labels, at = np.nonzero(prediction[4:] > SCORE_THRESHOLD)
    scores = prediction[4:][labels, at]
    order = np.argsort(-scores, kind="stable")
    labels, at, scores = labels[order], at[order], scores[order]
    centre, half = prediction[:2, at].T, prediction[2:4, at].T / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    apart = boxes + labels[:, None].astype(np.float32) * 10_000  # classes never meet
    kept: list[int] = []
    alive = np.ones(len(scores), bool)
    for i in range(len(scores)):
        if alive[i]:
            kept.append(i)
            if len(kept) == MAX_DETECTIONS:
                break
            alive[i + 1 :] &= _overlaps(apart[i], apart[i + 1 :]) <= IOU_THRESHOLD
    return boxes[kept], scores[kept], labels[kept]


def mean_average_precision(predict: Predict, folder: Path) -> float:
    """mAP@0.5:0.95 over ``folder/images`` with ``folder/annotations.json``."""
    document = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
    results: list[dict[str, Any]] = []
    for entry in document["images"]:
        image = read_image(folder / "images" / entry["file_name"])
        boxes, scores, labels = detections(predict(to_input(image))[0])
        for (x1, y1, x2, y2), score, label in zip(
            boxes.tolist(), scores.tolist(), labels.tolist(), strict=True
        ):
            results.append(
                {
                    "image_id": entry["id"],
                    "category_id": label,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "score": score,
                }
            )
    if not results:
        return 0.0
    truth = COCO(document)
    run = COCOeval_faster(truth, truth.loadRes(results), "bbox", print_function=lambda *_: None)
    run.evaluate()
    run.accumulate()
    run.summarize()
    return float(run.stats[0])
