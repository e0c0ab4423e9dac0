"""Where an image's pixels land on a model's input, and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from convkit_vision.transform import Transform


@dataclass(frozen=True)
class Placement:
    """An image of `source` pixels is resized to `resized` and laid onto a canvas.

    All sizes are (width, height).

    Attributes:
        source, resized, canvas: sizes in pixels.
        left, top: where the resized image begins on the canvas; negative where it is cut off.
    """

    source: tuple[int, int]
    resized: tuple[int, int]
    canvas: tuple[int, int]
    left: int = 0
    top: int = 0

    def boxes_to_source(self, boxes: Any) -> Any:
        """Boxes x1 y1 x2 y2 (k, 4) in canvas pixels to source pixels, clipped to the image."""
        import numpy as np

        scale = np.array([r / s for r, s in zip(self.resized, self.source, strict=True)] * 2)
        offset = np.array([self.left, self.top] * 2)
        bounds = np.array(self.source * 2)
        return np.clip((np.asarray(boxes, np.float64) - offset) / scale, 0, bounds)


def place(width: int, height: int, transform: Transform) -> Placement:
    """Plan the resizing of a width x height image.

    An int `resize` follows torchvision (the longer side is truncated, not rounded); letterboxing
    follows ultralytics (half a pixel of padding goes to the right and below).

    Raises:
        ValueError: the crop is larger than the resized image.
    """
    source = (width, height)
    size = transform.resize
    if size is None:
        resized = source
    elif isinstance(size, int):
        short, long = min(source), max(source)
        longer = max(1, int(size * long / short))
        resized = (size, longer) if width <= height else (longer, size)
    else:
        resized = (size[1], size[0])
    if transform.mode == "letterbox":
        ratio = min(resized[0] / width, resized[1] / height)
        inner = (max(1, round(width * ratio)), max(1, round(height * ratio)))
        left, top = ((resized[i] - inner[i]) // 2 for i in (0, 1))
        return Placement(source, inner, resized, left, top)
    if transform.crop is not None:
        canvas = (transform.crop[1], transform.crop[0])
        if canvas[0] > resized[0] or canvas[1] > resized[1]:
            raise ValueError(
                f"crop {transform.crop[0]}x{transform.crop[1]} is larger than the resized image,"
                f" {resized[1]}x{resized[0]}"
            )
        # Python's and torchvision's round: half to even.
        left, top = (-round((resized[i] - canvas[i]) / 2) for i in (0, 1))
        return Placement(source, resized, canvas, left, top)
    return Placement(source, resized, resized)
