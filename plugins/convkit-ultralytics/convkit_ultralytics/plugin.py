"""Hooks of convkit-ultralytics; cheap to import, since every command line does it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from convkit.plugin import Format, hookimpl

if TYPE_CHECKING:
    from convkit.plugin import Converter, Detection, Inspector, Runner


@hookimpl
def convkit_formats() -> Iterable[Format]:
    """The `ultralytics` format: checkpoints and model descriptions."""
    return (Format("ultralytics", "Ultralytics checkpoint", suffixes=(".pt", ".yaml", ".yml")),)


@hookimpl
def convkit_converters() -> Iterable[Converter]:
    """Export to torch.export archives and to ONNX."""
    from convkit_ultralytics.to_onnx import UltralyticsOnnx
    from convkit_ultralytics.to_torch import UltralyticsTorch

    return (UltralyticsTorch(), UltralyticsOnnx())


@hookimpl
def convkit_runners() -> Iterable[Runner]:
    """The original model, as its authors run it."""
    from convkit_ultralytics.runner import UltralyticsRunner

    return (UltralyticsRunner(),)


@hookimpl
def convkit_inspectors() -> Iterable[Inspector]:
    """The reader of checkpoints and descriptions."""
    from convkit_ultralytics.inspector import UltralyticsInspector

    return (UltralyticsInspector(),)


@hookimpl
def convkit_detect_format(path: Path, head: bytes) -> Detection | None:
    """By the classes that a checkpoint's pickle names, or by a description's keys."""
    from convkit_ultralytics.detection import looks_like

    return looks_like(path, head)
