"""Everything that a plugin's author needs, in one import.

It needs the standard library only, since workers in isolated environments import it too.
"""

from convkit.artifact import Artifact, Format, ReadOptions, State, TensorSpec
from convkit.calibration import CalibrationData, sample_key
from convkit.environment import Environment, IsolatedEnvironment
from convkit.inspection import Inspection
from convkit.plugin.marker import hookimpl
from convkit.plugin.protocols import (
    CalibrationSource,
    Converter,
    ConverterBase,
    Detection,
    HopContext,
    Inspector,
    Metric,
    MetricResult,
    Option,
    Runner,
    Sample,
    Session,
    TraitProvision,
    TraitRequirement,
)
from convkit.quant import LayerInfo, QuantRecipe, QuantRule, QuantScheme

__all__ = [
    "Artifact",
    "CalibrationData",
    "CalibrationSource",
    "Converter",
    "ConverterBase",
    "Detection",
    "Environment",
    "Format",
    "HopContext",
    "Inspection",
    "Inspector",
    "IsolatedEnvironment",
    "LayerInfo",
    "Metric",
    "MetricResult",
    "Option",
    "QuantRecipe",
    "QuantRule",
    "QuantScheme",
    "ReadOptions",
    "Runner",
    "Sample",
    "Session",
    "State",
    "TensorSpec",
    "TraitProvision",
    "TraitRequirement",
    "hookimpl",
    "sample_key",
]
