"""Non-maximum suppression."""

from __future__ import annotations

from typing import Any


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
