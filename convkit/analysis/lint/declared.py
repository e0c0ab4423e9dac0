"""Checks of what is declared: calibration's preparation by itself, by the pixels that arrive, and
against the preparation of the data that the model is judged on."""

from __future__ import annotations

from collections.abc import Iterator

from convkit.analysis.lint.catalogue import warning
from convkit.analysis.lint.portrait import InputPortrait
from convkit.lint import CalibrationWarning, Preparation

_SPREADS = (0.02, 2.0)
"""A standard deviation of pixels, in units of the declared range, lies between."""
_SAME = 0.02
"""Bounds that differ by less, in units of the declared range, are the same."""
_BEYOND = 0.1
"""Of the declared range: resampling reaches beyond black and white by no more."""
_UNUSED = 0.05
"""Of the declared range: a set of images with contents spans more."""
_DARK = 16.0
"""Pixel value of 255 that images with contents exceed somewhere."""


def consistent(own: Preparation) -> Iterator[CalibrationWarning]:
    """Mean and standard deviation have to be those of the declared range."""
    low, high = own.range
    span = abs(high - low)
    wrong = [m for m in own.mean if m and not min(low, high) <= m <= max(low, high)]
    scales = [s for s in own.std if s != 1 and not _SPREADS[0] <= abs(s) / span <= _SPREADS[1]]
    if wrong or scales:
        what = f"mean {wrong[0]:g}" if wrong else f"std {scales[0]:g}"
        yield warning(
            "range-mismatch",
            f"{what} is declared for values in {low:g}..{high:g}; ends up as {_words(own.bounds)}",
        )


def arriving(own: Preparation, one: InputPortrait) -> Iterator[CalibrationWarning]:
    """Images have to use the pixel values that the declared range is made for."""
    import numpy as np

    if not one.looks:
        return
    bounds = np.array(own.bounds)
    black, white = bounds[:, 0], bounds[:, 1]
    highs = np.max([entry.highs for entry in one.looks], axis=0)
    lows = np.min([entry.lows for entry in one.looks], axis=0)
    if len(black) not in (1, len(highs)):
        return
    ends = np.stack([(lows - black) / (white - black), (highs - black) / (white - black)]) * 255
    most = float(ends.max())
    if most < _DARK:
        yield warning(
            "range-mismatch",
            f"no pixel is brighter than {most:.0f} of 255: the files hold values of another scale,"
            " such as 0..1 or class numbers",
        )


def within(judged: Preparation, one: InputPortrait) -> Iterator[CalibrationWarning]:
    """Samples of which nothing is declared, between the black and white of the evaluation's."""
    import numpy as np

    if not one.looks:
        return
    highs = np.max([entry.highs for entry in one.looks], axis=0)
    lows = np.min([entry.lows for entry in one.looks], axis=0)
    bounds = np.sort(np.array(judged.bounds), axis=1)
    if len(bounds) not in (1, len(highs)):
        return
    span = bounds[:, 1] - bounds[:, 0]
    beyond = np.maximum(bounds[:, 0] - lows, highs - bounds[:, 1]) / span
    used = (highs - lows) / span
    if float(beyond.max()) > _BEYOND or float(used.max()) < _UNUSED:
        yield warning(
            "range-mismatch",
            f"values lie in {float(lows.min()):.4g}..{float(highs.max()):.4g}, and the evaluation"
            f" data declares {_words(judged.bounds)} for black..white",
        )


def compared(own: Preparation, judged: Preparation) -> Iterator[CalibrationWarning]:
    """Calibration against evaluation."""
    ours, theirs = own.bounds, judged.bounds
    depth = max(len(ours), len(theirs))
    ours, theirs = (b * depth if len(b) == 1 else b for b in (ours, theirs))
    apart = [
        max(abs(a - b) for a, b in zip(mine, other, strict=True)) / abs(other[1] - other[0])
        for mine, other in zip(ours, theirs, strict=False)
    ]
    if max(apart) > _SAME:
        yield warning(
            "range-mismatch",
            f"calibration declares {_words(ours)} for black..white, the evaluation data"
            f" {_words(theirs)}",
        )
    if own.channels and judged.channels and own.channels != judged.channels:
        gray = "gray" in (own.channels, judged.channels)
        yield warning(
            "gray-images" if gray else "channel-order",
            f"calibration declares {own.channels}, the evaluation data {judged.channels}",
        )
    if own.resize and judged.resize and own.resize != judged.resize:
        plain = own.resize == "stretch" and judged.resize == "letterbox"
        yield warning(
            "stretched" if plain else "resize-mismatch",
            f"calibration declares mode {own.resize}, the evaluation data {judged.resize}",
        )


def _words(bounds: tuple[tuple[float, float], ...]) -> str:
    return ", ".join(dict.fromkeys(f"{low:.4g}..{high:.4g}" for low, high in bounds))
