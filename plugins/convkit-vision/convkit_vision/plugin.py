"""The hooks of convkit-vision."""

from __future__ import annotations

from convkit.plugin import CalibrationSource, Metric, hookimpl
from convkit_vision.coco_map import CocoMap
from convkit_vision.images import ImageSource
from convkit_vision.top1 import Top1


@hookimpl
def convkit_calibration_sources() -> tuple[CalibrationSource, ...]:
    """Folders of images."""
    return (ImageSource(),)


@hookimpl
def convkit_metrics() -> tuple[Metric, ...]:
    """Detection and classification."""
    return (CocoMap(), Top1())
