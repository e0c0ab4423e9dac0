"""The plugin's hooks: edges from onnx to tflite and to tf-saved."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from convkit.plugin import hookimpl

if TYPE_CHECKING:
    from convkit.plugin import Converter


@hookimpl
def convkit_converters() -> Iterable[Converter]:
    """onnx2tf, to either format."""
    from convkit_onnx2tf.converter import OnnxToSavedModel, OnnxToTflite

    return (OnnxToTflite(), OnnxToSavedModel())
