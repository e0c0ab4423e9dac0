"""Hooks: the bundled samples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from convkit.plugin import hookimpl

if TYPE_CHECKING:
    from convkit.plugin import Sample

DATA = Path(__file__).with_name("data")


@hookimpl
def convkit_samples() -> tuple[Sample, ...]:
    """`digits-yolo`: a trained detector with calibration and labelled validation images."""
    from convkit.plugin import Sample

    return (
        Sample(
            name="digits-yolo",
            title="digits-yolo, a trained YOLO-style detector of handwritten digits",
            folder=DATA / "digits-yolo",
            model="model.pt2",
            calibration="calibration",
            validation="validation",
            metric="coco-map",
        ),
    )
