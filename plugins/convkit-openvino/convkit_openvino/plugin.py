"""The plugin's hooks: the format `openvino`, its edges, runner and inspector."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from convkit.plugin import Format, hookimpl

if TYPE_CHECKING:
    from convkit.plugin import Converter, Detection, Inspector, Runner


@hookimpl
def convkit_formats() -> Iterable[Format]:
    """An `.xml` with the graph; its weights lie beside it in a `.bin` of the same stem."""
    return (
        Format(
            "openvino",
            "OpenVINO IR",
            suffixes=(".xml",),
            precisions=("fp32", "fp16", "int8-weights", "int8-dynamic", "int4-weights", "int8"),
            companions=(".bin",),
        ),
    )


@hookimpl
def convkit_converters() -> Iterable[Converter]:
    """From four formats by OpenVINO's own front ends, and half-precision weights."""
    from convkit_openvino.fp16 import CompressToFp16
    from convkit_openvino.from_onnx import FromOnnx, FromOnnxFp16, FromOnnxInt8
    from convkit_openvino.from_tensorflow import FromFrozenGraph, FromSavedModel
    from convkit_openvino.from_tflite import FromTflite, FromTfliteFp16, FromTfliteInt8
    from convkit_openvino.from_torch import FromTorch

    return (
        FromTorch(),
        FromOnnx(),
        FromOnnxFp16(),
        FromOnnxInt8(),
        FromSavedModel(),
        FromFrozenGraph(),
        FromTflite(),
        FromTfliteFp16(),
        FromTfliteInt8(),
        CompressToFp16(),
    )


@hookimpl
def convkit_runners() -> Iterable[Runner]:
    """OpenVINO's CPU plugin, in float32 arithmetic."""
    from convkit_openvino.runner import OpenVinoRunner

    return (OpenVinoRunner(),)


@hookimpl
def convkit_inspectors() -> Iterable[Inspector]:
    """A reader of the `.xml` and the `.bin`."""
    from convkit_openvino.inspector import OpenVinoInspector

    return (OpenVinoInspector(),)


@hookimpl
def convkit_detect_format(path: Path, head: bytes) -> Detection | None:
    """By the root element of the XML."""
    from convkit_openvino.detect import detect

    return detect(head)
