"""convkit carries a trained model to the format it ships in, and proves every hop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from convkit.api.conversion import convert
    from convkit.artifact import ReadOptions
    from convkit.engine.session import Settings
    from convkit.engine.worker import Limits
    from convkit.errors import ConvkitError
    from convkit.kit import Kit, Steering, inspect, plan
    from convkit.results import ConversionResult

_HOMES = {
    "ConversionResult": "convkit.results",
    "ConvkitError": "convkit.errors",
    "Kit": "convkit.kit",
    "Limits": "convkit.engine.worker",
    "ReadOptions": "convkit.artifact",
    "Settings": "convkit.engine.session",
    "Steering": "convkit.kit",
    "convert": "convkit.api.conversion",
    "inspect": "convkit.kit",
    "plan": "convkit.kit",
}

__all__ = [
    "ConversionResult",
    "ConvkitError",
    "Kit",
    "Limits",
    "ReadOptions",
    "Settings",
    "Steering",
    "__version__",
    "convert",
    "inspect",
    "plan",
]


def __getattr__(name: str) -> Any:
    """Import the public names on first use, so that `import convkit` stays cheap."""
    if name not in _HOMES:
        raise AttributeError(f"module 'convkit' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
