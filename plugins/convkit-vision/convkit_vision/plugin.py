"""The hooks of convkit-vision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convkit.plugin import hookimpl

if TYPE_CHECKING:
    from convkit.plugin import CalibrationSource, ExclusionRule, Metric


@hookimpl
def convkit_calibration_sources() -> tuple[CalibrationSource, ...]:
    """Folders of images."""
    from convkit_vision.images import ImageSource

    return (ImageSource(),)


@hookimpl
def convkit_metrics() -> tuple[Metric, ...]:
    """Detection, classification and segmentation."""
    from convkit_vision.coco_map import CocoMap
    from convkit_vision.fidelity_map import FidelityMap
    from convkit_vision.mask_iou import MaskIou
    from convkit_vision.top1 import Top1

    return (CocoMap(), FidelityMap(), MaskIou(), Top1())


@hookimpl
def convkit_exclusion_rules() -> tuple[ExclusionRule, ...]:
    """What detectors have."""
    from convkit_vision.priors import DetectionHead

    return (DetectionHead(),)
