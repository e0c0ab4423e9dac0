"""Hooks of convkit-executorch; cheap to import, since every command line does it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from convkit.plugin import Format, hookimpl

if TYPE_CHECKING:
    from convkit.plugin import Converter, Detection, Inspector, Runner

SUFFIX = ".pte"
IDENTIFIER = b"ET12"
"""Of the FlatBuffers file, at bytes 4 to 8."""


@hookimpl
def convkit_formats() -> Iterable[Format]:
    """ExecuTorch programs: one file with graph, weights and the parts of its backends."""
    return (
        Format(
            "executorch",
            "ExecuTorch",
            suffixes=(SUFFIX,),
            precisions=("fp32", "fp16", "int8-dynamic", "int8"),
        ),
    )


@hookimpl
def convkit_converters() -> Iterable[Converter]:
    """From torch through XNNPACK, in float32 and in static int8."""
    from convkit_executorch.float32 import TorchToExecutorch
    from convkit_executorch.int8 import TorchToExecutorchInt8

    return (TorchToExecutorch(), TorchToExecutorchInt8())


@hookimpl
def convkit_runners() -> Iterable[Runner]:
    """ExecuTorch's own runtime, with its portable kernels and XNNPACK."""
    from convkit_executorch.runner import ExecutorchRunner

    return (ExecutorchRunner(),)


@hookimpl
def convkit_inspectors() -> Iterable[Inspector]:
    """The reader of programs and of XNNPACK's graphs inside them."""
    from convkit_executorch.inspector import ExecutorchInspector

    return (ExecutorchInspector(),)


@hookimpl
def convkit_detect_format(path: Path, head: bytes) -> Detection | None:
    """By the FlatBuffers identifier; by the suffix alone where that is missing."""
    from convkit.plugin import Detection

    if head[4:8] == IDENTIFIER:
        return Detection("executorch", 1.0)
    if path.suffix.lower() == SUFFIX:
        return Detection("executorch", 0.5)
    return None
