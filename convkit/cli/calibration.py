"""Options that say what ranges of integers are measured on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

TRANSFORM_HELP = {
    "resize": "Height and width that images are resized to, as 160x160.",
    "interpolation": "nearest, bilinear, bicubic, lanczos or area.",
    "mode": "stretch, letterbox or center-crop.",
    "crop": "Height and width that center-crop cuts out, as 224x224.",
    "pad": "Fill value of letterbox, 0 to 255.",
    "range": "Range that pixel values are mapped onto, as 0,1.",
    "mean": "Mean per channel, subtracted after the range mapping.",
    "std": "Standard deviation per channel, divided by.",
    "channels": "RGB, BGR or gray.",
    "layout": "NCHW or NHWC.",
}


def with_calibration(function: Any) -> Any:
    """Add the options of calibration data and of the transform of its images."""
    for name, text in reversed(TRANSFORM_HELP.items()):  # decorators stack from below
        function = click.option(f"--image-{name}", f"image_{name}", help=text)(function)
    for option in (
        click.option(
            "--synthetic-calibration", is_flag=True, help="Random numbers (proves nothing)."
        ),
        click.option("--calibration-limit", type=int, metavar="N", help="Use at most N samples."),
        click.option("--calibration", metavar="PATH", help="Images, .npz, .npy or .safetensors."),
    ):
        function = option(function)
    return function


def transform_of(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The image settings that were given."""
    return {name: v for name in TRANSFORM_HELP if (v := flags[f"image_{name}"]) is not None}
