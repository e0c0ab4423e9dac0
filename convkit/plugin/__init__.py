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
    from convkit.plugin.data import (
        CalibrationSource,
        DeclaringMetric,
        DeclaringSource,
        Metric,
        MetricResult,
        OrderedSource,
        ReferenceMetric,
        Sample,
    )
    from convkit.plugin.edges import (
        Converter,
        ConverterBase,
        HopContext,
        Obstacle,
        Option,
        TraitProvision,
        TraitRequirement,
    )
    from convkit.plugin.marker import hookimpl
    from convkit.plugin.ranking import ExclusionRule, Ranker, Ranking, RankSettings, Together
    from convkit.plugin.reading import Inspector, OperationReader, Renamer
    from convkit.plugin.runtimes import Profiler, Runner, Session, TracedTensor, Tracer
    from convkit.quant import LayerInfo, QuantRecipe, QuantRule, QuantScheme

_HOMES = {
    "Artifact": "convkit.artifact",
    "CalibrationData": "convkit.calibration",
    "CalibrationSource": "convkit.plugin.data",
    "Converter": "convkit.plugin.edges",
    "ConverterBase": "convkit.plugin.edges",
    "DeclaringMetric": "convkit.plugin.data",
    "DeclaringSource": "convkit.plugin.data",
    "Detection": "convkit.artifact",
    "Environment": "convkit.environment",
    "ExclusionRule": "convkit.plugin.ranking",
    "ExecutedLayer": "convkit.delegates",
    "ExecutionProfile": "convkit.delegates",
    "Format": "convkit.artifact",
    "HopContext": "convkit.plugin.edges",
    "Inspection": "convkit.inspection",
    "Inspector": "convkit.plugin.reading",
    "IsolatedEnvironment": "convkit.environment",
    "LayerInfo": "convkit.quant",
    "Metric": "convkit.plugin.data",
    "MetricResult": "convkit.plugin.data",
    "Obstacle": "convkit.plugin.edges",
    "Operand": "convkit.delegates",
    "Operation": "convkit.delegates",
    "OperationReader": "convkit.plugin.reading",
    "Option": "convkit.plugin.edges",
    "Preparation": "convkit.lint",
    "Profiler": "convkit.plugin.runtimes",
    "QuantRecipe": "convkit.quant",
    "QuantRule": "convkit.quant",
    "QuantScheme": "convkit.quant",
    "OrderedSource": "convkit.plugin.data",
    "ReadOptions": "convkit.artifact",
    "ReferenceMetric": "convkit.plugin.data",
    "Renamer": "convkit.plugin.reading",
    "Runner": "convkit.plugin.runtimes",
    "Sample": "convkit.plugin.data",
    "Session": "convkit.plugin.runtimes",
    "State": "convkit.artifact",
    "Ranker": "convkit.plugin.ranking",
    "Ranking": "convkit.plugin.ranking",
    "RankSettings": "convkit.plugin.ranking",
    "Together": "convkit.plugin.ranking",
    "TracedTensor": "convkit.plugin.runtimes",
    "Tracer": "convkit.plugin.runtimes",
    "TensorSpec": "convkit.artifact",
    "TraitProvision": "convkit.plugin.edges",
    "TraitRequirement": "convkit.plugin.edges",
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
