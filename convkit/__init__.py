"""convkit carries a trained model to the format it ships in, and proves every hop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from convkit.analysis.bench import BenchSettings
    from convkit.analysis.gates import Gates
    from convkit.analysis.sensitivity.analyze import AnalysisSettings
    from convkit.api.analysis import SensitivityReport, analyze
    from convkit.api.benchmark import bench
    from convkit.api.comparing import compare
    from convkit.api.conversion import convert
    from convkit.api.evaluation import evaluate
    from convkit.artifact import ReadOptions
    from convkit.comparison import Comparison
    from convkit.engine.session import Settings
    from convkit.engine.worker import Limits
    from convkit.errors import ConvkitError
    from convkit.kit import Kit, Steering, inspect, plan
    from convkit.results import ConversionResult

_HOMES = {
    "AnalysisSettings": "convkit.analysis.sensitivity.analyze",
    "BenchSettings": "convkit.analysis.bench",
    "Comparison": "convkit.comparison",
    "ConversionResult": "convkit.results",
    "ConvkitError": "convkit.errors",
    "Gates": "convkit.analysis.gates",
    "Kit": "convkit.kit",
    "Limits": "convkit.engine.worker",
    "ReadOptions": "convkit.artifact",
    "SensitivityReport": "convkit.api.analysis",
    "Settings": "convkit.engine.session",
    "Steering": "convkit.kit",
    "analyze": "convkit.api.analysis",
    "bench": "convkit.api.benchmark",
    "compare": "convkit.api.comparing",
    "convert": "convkit.api.conversion",
    "evaluate": "convkit.api.evaluation",
    "inspect": "convkit.kit",
    "plan": "convkit.kit",
}

__all__ = [
    "AnalysisSettings",
    "BenchSettings",
    "Comparison",
    "ConversionResult",
    "ConvkitError",
    "Gates",
    "Kit",
    "Limits",
    "ReadOptions",
    "SensitivityReport",
    "Settings",
    "Steering",
    "__version__",
    "analyze",
    "bench",
    "compare",
    "convert",
    "evaluate",
    "inspect",
    "plan",
]


def __getattr__(name: str) -> Any:
    """Import the public names on first use, so that `import convkit` stays cheap."""
    if name not in _HOMES:
        raise AttributeError(f"module 'convkit' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
