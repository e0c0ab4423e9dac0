"""Hooks of convkit-onnx; cheap to import, since every command line does it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from convkit.plugin import Format, hookimpl
from convkit_onnx.detect import looks_like_onnx

if TYPE_CHECKING:
    from convkit.plugin import Converter, Detection, Inspector, Runner

_SUFFIX = ".onnx"


@hookimpl
def convkit_formats() -> Iterable[Format]:
    """The `onnx` format."""
    precisions = ("fp32", "fp16", "int8-weights", "int8-dynamic", "int4-weights", "int8")
    companions = (f"{_SUFFIX}.data",)
    return (Format("onnx", "ONNX", (_SUFFIX,), precisions=precisions, companions=companions),)


@hookimpl
def convkit_converters() -> Iterable[Converter]:
    """Preparations, the step to float16, those to int8, and those back to float32."""
    from convkit_onnx.dequantize import Dequantize, DequantizeDynamic, DequantizeWeights
    from convkit_onnx.dynamic_int8 import DynamicInt8
    from convkit_onnx.fix_shapes import FixShapes
    from convkit_onnx.half import Half
    from convkit_onnx.simplify import Sim, Slim
    from convkit_onnx.static_int8 import StaticInt8
    from convkit_onnx.widen import Widen

    back = (Widen(), Dequantize(), DequantizeDynamic(), DequantizeWeights())
    return (Slim(), Sim(), FixShapes(), Half(), StaticInt8(), DynamicInt8(), *back)


@hookimpl
def convkit_runners() -> Iterable[Runner]:
    """ONNX Runtime, and behind it the evaluator that defines the operators."""
    from convkit_onnx.reference import ReferenceRunner
    from convkit_onnx.runner import OnnxRuntimeRunner

    return (OnnxRuntimeRunner(), ReferenceRunner())


@hookimpl
def convkit_inspectors() -> Iterable[Inspector]:
    """The reader of ONNX files."""
    from convkit_onnx.inspector import OnnxInspector

    return (OnnxInspector(),)


@hookimpl
def convkit_detect_format(path: Path, head: bytes) -> Detection | None:
    """By the protobuf's structure; else, weakly, by the suffix."""
    from convkit.plugin import Detection

    if looks_like_onnx(head):
        return Detection("onnx", 1.0)
    if head and path.suffix.lower() == _SUFFIX:
        return Detection("onnx", 0.5)
    return None
