"""Every warning by its name, and what cures it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from convkit.lint import CalibrationWarning

REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        "single-sample": "Give 200 to 300 samples of what the model will see in use.",
        "few-samples": "Give 200 to 300 samples of what the model will see in use.",
        "duplicates": "Give different samples: a repeated one adds nothing and weighs double.",
        "little-variety": "Take samples from different scenes, days and devices, not the frames of"
        " one film.",
        "synthetic": "Use real samples: random numbers reach other ranges than real data in every"
        " layer but the first.",
        "blank-samples": "Look at what the reader gives: a file that was not found, a wrong cast to"
        " integers or a mask read as an image all end in blank samples.",
        "constant-channel": "Look at how the channels are filled; where the model takes gray images"
        " in three channels, repeat the gray value in all of them.",
        "gray-images": "Calibrate with images of the same kind as the model is judged on.",
        "outliers": "Leave these samples out or scale them like the others: they alone decide the"
        " ranges.",
        "range-mismatch": "Scale and normalize calibration data as the model was trained with; for"
        " images that is `range`, `mean` and `std` in calibration.toml.",
        "layout": "Transpose the axes (numpy.transpose); reshape only relabels the values. For"
        " images declare `layout` in calibration.toml.",
        "channel-order": "Give the channels in the order that the model was trained with"
        " (`channels` in calibration.toml). OpenCV reads BGR: use cv2.cvtColor(image,"
        " cv2.COLOR_BGR2RGB) for a model trained on RGB.",
        "stretched": 'Letterbox: keep the aspect ratio and fill the rest (`mode = "letterbox"` in'
        " calibration.toml).",
        "resize-mismatch": "Resize calibration images as the images that the model is judged on"
        " (`mode` in calibration.toml).",
        "labels-in-calibration": "Give the folder that holds the images only.",
        "validation-leak": "Calibrate with other samples than those that the result is scored on,"
        " for example with a part of the training data.",
    }
)


def warning(name: str, message: str) -> CalibrationWarning:
    """The warning of that name, with its remedy."""
    return CalibrationWarning(name, message, REMEDIES[name])
