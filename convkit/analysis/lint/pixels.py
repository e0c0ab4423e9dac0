"""What one sample of an image input looks like, in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Array = Any
"""A numpy array; numpy is imported inside functions."""

THUMB = 24
"""Side of a thumbnail."""
LEAST_SIDE = 8
"""Axes shorter than this are no sides of an image."""
DEPTHS = (1, 3, 4)
_ROWS = 128
"""Of large images, so many rows in the middle stand for all where it is about texture."""
_BAR = 0.02
"""Bars narrower than this share of a side may be chance."""
_EVEN = 0.02
"""Of the picture's range: values of a bar differ by no more. Lossy files are not quite even."""


@dataclass(frozen=True)
class Colour:
    """How the channels of one image differ.

    Attributes:
        thirds: float64 (3, 3), means of each channel in the upper, middle and lower third: skies
            and lamps are above.
        stds, rough: float64 (3,), standard deviation of each channel, and of its differences of
            neighbours.
        likeness: resemblance of the first channel to the second, less that of the third to it; the
            same of the differences of neighbours.
    """

    thirds: Array
    stds: Array
    rough: Array
    likeness: tuple[float, float]

    def statistics(self, lows: Array, spans: Array) -> Array:
        """Numbers that change their sign when the first and the third channel are swapped,
        float64 (7,).

        Args:
            lows, spans: what is subtracted from each channel and then divided by, (3,): they undo a
                normalization that differs between channels.
        """
        import numpy as np

        thirds = (self.thirds - lows[:, None]) / spans[:, None]
        stds, rough = self.stds / spans, self.rough / spans
        spread, scale = float(stds.mean()) or 1.0, float(rough.mean()) or 1.0
        return np.array(
            [
                *((thirds[0] - thirds[2]) / spread),
                (stds[0] - stds[2]) / spread,
                (rough[0] - rough[2]) / scale,
                *self.likeness,
            ]
        )


@dataclass(frozen=True)
class Look:
    """One image.

    Attributes:
        means, stds: per channel, float64 (C,).
        lows, highs: per channel, float64 (C,).
        bars: share of the image that constant bars take at two opposite sides or one of them, 0
            where there are none or where they are at all sides (a plain background).
        fill: the value of the bars, NaN without.
        neighbours: correlation of neighbouring values, the larger of horizontal and vertical; NaN
            for a blank image.
        scrambled: total variation of the same memory read as if in the other layout, relative to
            the total variation as it is; below 1 the other reading is the smoother picture. NaN
            where there is but one channel.
        colour: None without three channels.
        thumb: float64 (C, THUMB, THUMB), mean values of the picture without its bars.
    """

    means: Array
    stds: Array
    lows: Array
    highs: Array
    bars: float
    fill: float
    neighbours: float
    scrambled: float
    colour: Colour | None
    thumb: Array


def layout_of(shape: tuple[int, ...], declared: str) -> str:
    """`NCHW` or `NHWC`, empty where an array of this shape holds no images."""
    if len(shape) != 4:
        return ""
    found = {
        "NCHW": shape[1] in DEPTHS and min(shape[2:]) >= LEAST_SIDE,
        "NHWC": shape[3] in DEPTHS and min(shape[1:3]) >= LEAST_SIDE,
    }
    if found.get(declared):
        return declared
    return next((name for name, fits in found.items() if fits), "")


def look(image: Array, layout: str) -> Look:
    """Look at one image, (C, H, W) or (H, W, C) as `layout` says, without a batch axis."""
    import numpy as np

    planes = np.asarray(image if layout == "NCHW" else np.moveaxis(image, 2, 0), np.float32)
    depth = len(planes)
    flat = planes.reshape(depth, -1)
    top, bottom, left, right, fill = _bars(planes)
    height, width = planes.shape[1:]
    inner = planes[:, top : height - bottom, left : width - right]
    return Look(
        means=flat.mean(axis=1, dtype=np.float64),
        stds=flat.std(axis=1, dtype=np.float64),
        lows=flat.min(axis=1).astype(np.float64),
        highs=flat.max(axis=1).astype(np.float64),
        bars=1.0 - inner[0].size / planes[0].size,
        fill=fill,
        neighbours=_neighbours(_band(planes)),
        scrambled=_scrambled(planes, layout),
        colour=_colour(inner) if depth == 3 else None,
        thumb=_thumb(inner),
    )


def _bars(planes: Array) -> tuple[int, int, int, int, float]:
    """Rows at the top and the bottom and columns at the left and the right that are of one value;
    and that value. All 0 where such lines are at the sides of both axes, or everywhere."""
    import numpy as np

    nothing = (0, 0, 0, 0, float("nan"))
    height, width = planes.shape[1:]
    corner = planes[:, 0, 0]
    slack = _EVEN * float(planes.max() - planes.min())
    found = []
    for axis, length in ((2, height), (1, width)):
        low, high = planes.min(axis=axis), planes.max(axis=axis)
        even = (high - low <= slack).all(axis=0)
        first = int(np.argmin(even)) if not even.all() else length
        last = int(np.argmin(even[::-1])) if not even.all() else length
        if first == length:
            return nothing  # blank
        # all of one colour, else it is a gradient or a sky that happens to be even
        start = first if first and _alike(low[:, :first], high[:, :first], slack) else 0
        end = last if last and _alike(low[:, -last:], high[:, -last:], slack) else 0
        if (start + end) / length < _BAR:
            start = end = 0
        found.append((start, end))
    (top, bottom), (left, right) = found
    if ((top or bottom) and (left or right)) or not any((top, bottom, left, right)):
        return nothing
    at = corner if top or left else planes[:, -1, -1]
    return top, bottom, left, right, float(at.mean())


def _alike(low: Array, high: Array, slack: float) -> bool:
    """Whether lines with these extremes, (C, lines), are of one colour."""
    return bool((high.max(axis=1) - low.min(axis=1) <= slack).all())


def _band(planes: Array) -> Array:
    """The middle rows: enough for statistics of large images."""
    middle = planes.shape[1] // 2
    return planes[:, max(0, middle - _ROWS // 2) : middle + _ROWS // 2]


def _neighbours(planes: Array) -> float:
    import numpy as np

    spread = planes - planes.mean(axis=(1, 2), keepdims=True)
    power = float((spread * spread).mean())
    if power == 0:
        return float("nan")
    across = float((spread[:, :, 1:] * spread[:, :, :-1]).mean()) / power
    down = float((spread[:, 1:] * spread[:, :-1]).mean()) / power
    return float(np.max([across, down]))


def _scrambled(planes: Array, layout: str) -> float:
    import numpy as np

    depth, height, width = planes.shape
    if depth == 1:
        return float("nan")
    own = _variation(_band(planes))
    if layout == "NCHW":  # as if (H, W, C) had been reshaped to (C, H, W)
        other = np.moveaxis(planes.reshape(height, width, depth), 2, 0)
    else:
        other = np.moveaxis(planes, 0, 2).reshape(depth, height, width)
    return _variation(_band(other)) / own if own else float("nan")


def _variation(planes: Array) -> float:
    """Mean absolute difference of neighbours."""
    import numpy as np

    return float(np.abs(np.diff(planes, axis=2)).mean() + np.abs(np.diff(planes, axis=1)).mean())


def _colour(planes: Array) -> Colour | None:
    import numpy as np

    if planes.shape[1] < 3 or planes.shape[2] < 2:
        return None
    lines = planes.mean(axis=2, dtype=np.float64)
    middle = _band(planes)
    flat = middle.reshape(3, -1)
    edges = np.diff(middle, axis=2).reshape(3, -1)
    return Colour(
        thirds=np.stack([part.mean(axis=1) for part in np.array_split(lines, 3, axis=1)], axis=1),
        stds=flat.std(axis=1).astype(np.float64),
        rough=edges.std(axis=1).astype(np.float64),
        likeness=(
            _likeness(flat[0], flat[1]) - _likeness(flat[2], flat[1]),
            _likeness(edges[0], edges[1]) - _likeness(edges[2], edges[1]),
        ),
    )


def _likeness(left: Array, right: Array) -> float:
    """Correlation; 0 where one of them is constant."""
    import numpy as np

    a, b = left - left.mean(), right - right.mean()
    power = float(np.sqrt(float(a @ a) * float(b @ b)))
    return float(a @ b) / power if power else 0.0


def _thumb(planes: Array) -> Array:
    """Means over a grid of THUMB x THUMB cells; cells of a smaller picture repeat."""
    import numpy as np

    result = planes
    for axis in (1, 2):
        length = result.shape[axis]
        starts = np.arange(THUMB) * length // THUMB
        if length < THUMB:
            result = np.take(result, starts, axis)
            continue
        counts = np.diff(np.append(starts, length)).reshape((-1, 1) if axis == 1 else (-1,))
        result = np.add.reduceat(result, starts, axis) / counts
    return np.asarray(result, np.float64)
