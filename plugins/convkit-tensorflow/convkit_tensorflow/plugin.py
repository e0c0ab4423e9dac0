"""The plugin's hooks: two formats, their edges, runners and inspectors."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from convkit.plugin import Format, hookimpl
from convkit_tensorflow import detect

if TYPE_CHECKING:
    from convkit.plugin import Converter, Detection, Inspector, Runner


@hookimpl
def convkit_formats() -> Iterable[Format]:
    """SavedModel directories and frozen graphs."""
    return (
        Format("tf-saved", "TensorFlow SavedModel", directory_suffix="-saved"),
        Format("tf-frozen", "TensorFlow frozen graph", suffixes=(".pb",)),
    )


@hookimpl
def convkit_converters() -> Iterable[Converter]:
    """Freezing and back, and TFLite in four precisions from both formats."""
    from convkit_tensorflow.freeze import Freeze
    from convkit_tensorflow.tflite_float import DynamicInt8, Float16, Float32
    from convkit_tensorflow.tflite_frozen import (
        FrozenDynamicInt8,
        FrozenFloat16,
        FrozenFloat32,
        FrozenStaticInt8,
    )
    from convkit_tensorflow.tflite_int8 import StaticInt8
    from convkit_tensorflow.unfreeze import Unfreeze

    return (
        Freeze(),
        Unfreeze(),
        Float32(),
        Float16(),
        DynamicInt8(),
        StaticInt8(),
        FrozenFloat32(),
        FrozenFloat16(),
        FrozenDynamicInt8(),
        FrozenStaticInt8(),
    )


@hookimpl
def convkit_runners() -> Iterable[Runner]:
    """TensorFlow itself."""
    from convkit_tensorflow.run_frozen import FrozenRunner
    from convkit_tensorflow.run_saved import SavedModelRunner

    return (SavedModelRunner(), FrozenRunner())


@hookimpl
def convkit_inspectors() -> Iterable[Inspector]:
    """Readers that refuse operators with side effects."""
    from convkit_tensorflow.inspect_frozen import FrozenInspector
    from convkit_tensorflow.inspect_saved import SavedModelInspector

    return (SavedModelInspector(), FrozenInspector())


@hookimpl
def convkit_detect_format(path: Path, head: bytes) -> Detection | None:
    """By the files of a SavedModel directory; by the wire structure of a `.pb` file."""

    return detect.saved_model(path) if path.is_dir() else detect.frozen_graph(path, head)
