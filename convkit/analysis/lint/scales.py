"""The usual scales of pixel values."""

from __future__ import annotations

_NORMALIZED = "ImageNet's mean"
_SCALES: tuple[tuple[str, float, float], ...] = (
    ("0..1", 0.0, 1.0),
    ("0..255", 0.0, 255.0),
    ("-1..1", -1.0, 1.0),
    ("-0.5..0.5", -0.5, 0.5),
    ("-128..127", -128.0, 127.0),
    (f"{_NORMALIZED} and standard deviation over 0..1", -2.1179, 2.64),
    (f"{_NORMALIZED} over 0..255", -123.68, 151.061),
)
"""Words, black, and white. ImageNet's are the extremes over its three channels."""
_SLACK = 0.02
"""Of the span: rounding and resampling reach beyond black and white by no more."""
_FILLED = 0.25
"""Images come this near to black and white somewhere, in units of the span."""


def scale_of(low: float, high: float) -> str:
    """The scale that images with these extremes are in; empty where none or several would fit."""
    fitting = [
        words
        for words, black, white in _SCALES
        if _near(low - black, white - black) and _near(white - high, white - black)
    ]
    return fitting[0] if len(fitting) == 1 else ""


def _near(gap: float, span: float) -> bool:
    """Whether a value lies inside a bound, at a gap that contents explain."""
    return -_SLACK * span <= gap <= _FILLED * span


def even_scale(low: float, high: float) -> bool:
    """Whether images with these extremes are in a scale that is the same for all channels."""
    found = scale_of(low, high)
    return bool(found) and not found.startswith(_NORMALIZED)
