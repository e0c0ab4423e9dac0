"""Everything that a plugin's author needs, in one import.

The names are loaded on first use, since every command line imports every plugin. Standard library
only: workers in isolated environments import this too.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convkit.artifact import Artifact, Detection, Format, ReadOptions, State, TensorSpec
    from convkit.calibration import CalibrationData, sample_key
    from convkit.delegates import ExecutedLayer, ExecutionProfile, Operand, Operation
    from convkit.environment import Environment, IsolatedEnvironment
    from convkit.inspection import Inspection
    from convkit.lint import Preparation
    from convkit.plugin.marker import hookimpl
    from convkit.plugin.protocols import (
        CalibrationSource,
        Converter,
        ConverterBase,
        DeclaringMetric,
        DeclaringSource,
        HopContext,
        Inspector,
        Metric,
        MetricResult,
        Obstacle,
        OperationReader,
        Option,
        OrderedSource,
        Profiler,
        ReferenceMetric,
        Renamer,
        Runner,
        Sample,
        Session,
        TracedTensor,
        Tracer,
        TraitProvision,
        TraitRequirement,
    )
    from convkit.plugin.ranking import ExclusionRule, Ranker, Ranking, RankSettings, Together
    from convkit.quant import LayerInfo, QuantRecipe, QuantRule, QuantScheme

_HOMES = {
    "Artifact": "convkit.artifact",
    "CalibrationData": "convkit.calibration",
    "CalibrationSource": "convkit.plugin.protocols",
    "Converter": "convkit.plugin.protocols",
    "ConverterBase": "convkit.plugin.protocols",
    "DeclaringMetric": "convkit.plugin.protocols",
    "DeclaringSource": "convkit.plugin.protocols",
    "Detection": "convkit.artifact",
    "Environment": "convkit.environment",
    "ExclusionRule": "convkit.plugin.ranking",
    "ExecutedLayer": "convkit.delegates",
    "ExecutionProfile": "convkit.delegates",
    "Format": "convkit.artifact",
    "HopContext": "convkit.plugin.protocols",
    "Inspection": "convkit.inspection",
    "Inspector": "convkit.plugin.protocols",
    "IsolatedEnvironment": "convkit.environment",
    "LayerInfo": "convkit.quant",
    "Metric": "convkit.plugin.protocols",
    "MetricResult": "convkit.plugin.protocols",
    "Obstacle": "convkit.plugin.protocols",
    "Operand": "convkit.delegates",
    "Operation": "convkit.delegates",
    "OperationReader": "convkit.plugin.protocols",
    "Option": "convkit.plugin.protocols",
    "Preparation": "convkit.lint",
    "Profiler": "convkit.plugin.protocols",
    "QuantRecipe": "convkit.quant",
    "QuantRule": "convkit.quant",
    "QuantScheme": "convkit.quant",
    "OrderedSource": "convkit.plugin.protocols",
    "ReadOptions": "convkit.artifact",
    "ReferenceMetric": "convkit.plugin.protocols",
    "Renamer": "convkit.plugin.protocols",
    "Runner": "convkit.plugin.protocols",
    "Sample": "convkit.plugin.protocols",
    "Session": "convkit.plugin.protocols",
    "State": "convkit.artifact",
    "Ranker": "convkit.plugin.ranking",
    "Ranking": "convkit.plugin.ranking",
    "RankSettings": "convkit.plugin.ranking",
    "Together": "convkit.plugin.ranking",
    "TracedTensor": "convkit.plugin.protocols",
    "Tracer": "convkit.plugin.protocols",
    "TensorSpec": "convkit.artifact",
    "TraitProvision": "convkit.plugin.protocols",
    "TraitRequirement": "convkit.plugin.protocols",
    "hookimpl": "convkit.plugin.marker",
    "sample_key": "convkit.calibration",
}

__all__ = [
    "Artifact",
    "CalibrationData",
    "CalibrationSource",
    "Converter",
    "ConverterBase",
    "DeclaringMetric",
    "DeclaringSource",
    "Detection",
    "Environment",
    "ExclusionRule",
    "ExecutedLayer",
    "ExecutionProfile",
    "Format",
    "HopContext",
    "Inspection",
    "Inspector",
    "IsolatedEnvironment",
    "LayerInfo",
    "Metric",
    "MetricResult",
    "Obstacle",
    "Operand",
    "Operation",
    "OperationReader",
    "Option",
    "Preparation",
    "Profiler",
    "QuantRecipe",
    "QuantRule",
    "QuantScheme",
    "OrderedSource",
    "ReadOptions",
    "ReferenceMetric",
    "Renamer",
    "Runner",
    "Sample",
    "Session",
    "State",
    "TensorSpec",
    "RankSettings",
    "Ranker",
    "Ranking",
    "Together",
    "TracedTensor",
    "Tracer",
    "TraitProvision",
    "TraitRequirement",
    "hookimpl",
    "sample_key",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'convkit.plugin' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
