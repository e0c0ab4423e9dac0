"""Core's own plugin: it registers through the same hooks as strangers do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convkit.plugin import hookimpl

if TYPE_CHECKING:
    from convkit.plugin import CalibrationSource, ExclusionRule, Metric


@hookimpl
def convkit_calibration_sources() -> tuple[CalibrationSource, ...]:
    """Arrays on disk: `.npz`, `.npy` and `.safetensors`."""
    from convkit.arrays import ArraySource

    return (ArraySource(),)


@hookimpl
def convkit_metrics() -> tuple[Metric, ...]:
    """What needs no labels."""
    from convkit.fidelity import Fidelity, Top1Agreement

    return (Fidelity(), Top1Agreement())


@hookimpl
def convkit_exclusion_rules() -> tuple[ExclusionRule, ...]:
    """What any network may have."""
    from convkit.priors import RULES

    return RULES
