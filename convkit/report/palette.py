"""Shapes for formats, colours for precisions: every figure can be read by either alone.

Colours are variables of the style sheet (the palette of Okabe and Ito, which people who confuse
colours can tell apart), so charts follow the theme and the printer without being drawn anew.
"""

from __future__ import annotations

from convkit.artifact import PRECISIONS
from convkit.report.blocks import Marker, Status

SHAPES = {
    "circle": "M-.9,0A.9,.9 0 1,0 .9,0A.9,.9 0 1,0 -.9,0Z",
    "square": "M-.8,-.8L.8,-.8L.8,.8L-.8,.8Z",
    "triangle-up": "M0,-1L1,.75L-1,.75Z",
    "diamond": "M0,-1.1L1.1,0L0,1.1L-1.1,0Z",
    "plus": "M-.3,-1L.3,-1L.3,-.3L1,-.3L1,.3L.3,.3L.3,1L-.3,1L-.3,.3L-1,.3L-1,-.3L-.3,-.3Z",
    "triangle-down": "M0,1L1,-.75L-1,-.75Z",
    "triangle-right": "M1,0L-.75,1L-.75,-1Z",
    "hexagon": "M1,0L.5,.87L-.5,.87L-1,0L-.5,-.87L.5,-.87Z",
    "triangle-left": "M-1,0L.75,1L.75,-1Z",
    "star": "M0,-1L.3,-.3L1,-.3L.4,.1L.6,.9L0,.5L-.6,.9L-.4,.1L-1,-.3L-.3,-.3Z",
    "bow": "M-1,-.9L0,-.25L1,-.9L1,.9L0,.25L-1,.9Z",
    "bar": "M-1.1,-.4L1.1,-.4L1.1,.4L-1.1,.4Z",
}
"""Outlines within -1..1, distinct from each other without colour."""

FORMATS = ("torch", "onnx", "openvino", "tf-saved", "tf-frozen", "tflite")
"""These always have the same shape; formats of plugins take the others by their names."""

_COLOURS = {
    "fp32": "var(--fp32)",
    "fp16": "var(--fp16)",
    "int8-dynamic": "var(--int8-dynamic)",
    "int8": "var(--int8)",
}

STATUS_OF: dict[str, Status] = {
    "ok": "good",
    "degraded": "warn",
    "wrong": "bad",
    "unproven": "unknown",
    "faster": "good",
    "slower": "bad",
    "equal": "unknown",
    "cannot tell": "unknown",
}
"""Verdicts of verification and of the benchmark."""


def split_state(state: str) -> tuple[str, str]:
    """Format and precision of `onnx-int8-dynamic`."""
    for precision in sorted(PRECISIONS, key=len, reverse=True):
        if state.endswith(f"-{precision}"):
            return state.removesuffix(f"-{precision}"), precision
    return state, "fp32"


def colour(precision: str) -> str:
    """Of a precision; all that plugins add share one."""
    return _COLOURS.get(precision, "var(--other-precision)")


def shape(format_id: str) -> str:
    """Outline of a format's marker: the same on every page."""
    outlines = list(SHAPES.values())
    if format_id in FORMATS:
        return outlines[FORMATS.index(format_id)]
    others = outlines[len(FORMATS) :]
    return others[sum(format_id.encode()) % len(others)]


def marker(state: str) -> Marker:
    """The symbol of a state."""
    format_id, precision = split_state(state)
    return Marker(shape(format_id), colour(precision))
