"""NNCF itself: imported without its telemetry, and its failures in one sentence."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from convkit.errors import ConversionError, ConvkitError

REQUIREMENTS = ("nncf>=3.4", "openvino>=2026.1", "numpy", "safetensors")
_TELEMETRY = "openvino_telemetry"


def load() -> Any:
    """The package `nncf`, and with it `openvino`.

    Importing either reports to its makers over the network and writes an id into the user's home,
    unless the package that does so cannot be imported; each then puts a stub in its place.
    """
    if "nncf" not in sys.modules or "openvino" not in sys.modules:
        with _hidden(_TELEMETRY):
            import nncf
            import openvino  # noqa: F401
    import nncf

    return nncf


@contextmanager
def _hidden(module: str) -> Iterator[None]:
    """Let nobody import a module meanwhile, whether or not it has been imported before."""
    before = sys.modules.get(module)
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]
        if before is not None:
            sys.modules[module] = before


@contextmanager
def failures(what: str) -> Iterator[None]:
    """Turn whatever NNCF raises into a ConversionError.

    Args:
        what: what it was about to do, as in `NNCF could not <what>`.
    """
    try:
        yield
    except ConvkitError:
        raise
    except Exception as exc:  # nncf.ValidationError, RuntimeError, KeyError, ...
        raise ConversionError(
            f"NNCF could not {what}: {first_line(exc)}",
            hint="Keep the operators that it names in float, or take another quantizer.",
        ) from exc


def first_line(exc: BaseException) -> str:
    """The part of an exception's text that says what is wrong, shortened.

    OpenVINO begins with the place in its own source, line by line.
    """
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("Exception from ", "Check '"))]
    return ((telling or lines or [""])[0] or type(exc).__name__)[:300]
