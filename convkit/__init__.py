"""convkit carries a trained model to the format it ships in, and proves every hop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from convkit.api import ConversionResult, convert, inspect, plan
    from convkit.errors import ConvkitError

__all__ = ["ConversionResult", "ConvkitError", "__version__", "convert", "inspect", "plan"]

_HOMES = {
    "ConversionResult": "convkit.api",
    "ConvkitError": "convkit.errors",
    "convert": "convkit.api",
    "inspect": "convkit.api",
    "plan": "convkit.api",
}


def __getattr__(name: str) -> Any:
    """Import the public names on first use, so that `import convkit` stays cheap."""
    if name not in _HOMES:
        raise AttributeError(f"module 'convkit' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
