"""What all parts need of OpenVINO itself."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from convkit.errors import InputError

if TYPE_CHECKING:
    import openvino

REQUIREMENTS = ("openvino>=2026.1", "numpy")


@contextmanager
def _hidden(module: str) -> Iterator[None]:
    """Let nobody import a module meanwhile, unless it has been imported before."""
    absent = module not in sys.modules
    if absent:
        sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if absent:
            del sys.modules[module]


def without_telemetry() -> None:
    """Import OpenVINO, which must happen here first.

    Importing it writes an id into the user's home and reports to its makers over the network; it
    does without where the package that does so cannot be imported.
    """
    if "openvino" not in sys.modules:
        with _hidden("openvino_telemetry"):
            import openvino  # noqa: F401


def first_line(exc: BaseException) -> str:
    """The part of an exception's text that says what is wrong, shortened.

    OpenVINO begins with the place in its own source, line by line.
    """
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    marks = ("Exception from ", "Check '", "FrontEnd API failed", "Converting input model")
    telling = [line for line in lines if not line.startswith(marks)] or lines
    return (telling[0] if telling else type(exc).__name__)[:300]


def read_model(path: Path) -> openvino.Model:
    """The model of an IR that has been found whole by `convkit_openvino.ir`.

    Raises:
        InputError: OpenVINO does not accept it.
    """
    without_telemetry()
    import openvino

    try:
        return openvino.Core().read_model(path)
    except Exception as exc:  # RuntimeError and others, by the layer that fails
        raise InputError(
            f"OpenVINO cannot read {path.name}: {first_line(exc)}",
            hint="It is damaged, or made by another version of OpenVINO.",
        ) from exc
