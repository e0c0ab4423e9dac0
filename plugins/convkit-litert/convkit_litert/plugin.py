"""The plugin's hooks: the `tflite` format, its edges, its runner and its inspector."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from convkit.plugin import Format, hookimpl

if TYPE_CHECKING:
    from convkit.plugin import Converter, Detection, Inspector, Runner

SUFFIX = ".tflite"
IDENTIFIER = b"TFL3"


@hookimpl
def convkit_formats() -> Iterable[Format]:
    """TFLite, also known as LiteRT: one flatbuffer file."""
    return (
        Format(
            id="tflite",
            title="TFLite (LiteRT)",
            suffixes=(SUFFIX,),
            precisions=("fp32", "fp16", "int8-dynamic", "int8"),
        ),
    )


@hookimpl
def convkit_converters() -> Iterable[Converter]:
    """torch to TFLite, the three quantizers, and the ways back to float32."""
    from convkit_litert.converter import TorchToTflite
    from convkit_litert.quantizers import DynamicInt8, Float16, StaticInt8
    from convkit_litert.widening import Dequantize, DequantizeDynamic, Widen

    return (
        TorchToTflite(),
        Float16(),
        DynamicInt8(),
        StaticInt8(),
        Widen(),
        Dequantize(),
        DequantizeDynamic(),
    )


@hookimpl
def convkit_runners() -> Iterable[Runner]:
    """The LiteRT interpreter."""
    from convkit_litert.runner import LiteRtRunner

    return (LiteRtRunner(),)


@hookimpl
def convkit_inspectors() -> Iterable[Inspector]:
    """The flatbuffer reader."""
    from convkit_litert.inspector import LiteRtInspector

    return (LiteRtInspector(),)


@hookimpl
def convkit_delegate_rules() -> Iterable[Path]:
    """What accelerators take of TFLite's operators, as published."""
    folder = Path(__file__).parent / "delegates"
    names = ("edgetpu", "edgetpu-15", "gpu", "nnapi", "xnnpack")
    return tuple(folder / f"{name}.toml" for name in names)


@hookimpl
def convkit_detect_format(path: Path, head: bytes) -> Detection | None:
    """By the flatbuffer's file identifier; by the suffix alone where that is missing."""
    from convkit.plugin import Detection

    if head[4:8] == IDENTIFIER:
        return Detection("tflite", 1.0)
    if path.suffix == SUFFIX:
        return Detection("tflite", 0.5)
    return None
