"""The plugin's hooks: one edge, onnx to tf-saved."""

from __future__ import annotations

from collections.abc import Iterable

from convkit.plugin import Converter, hookimpl
from convkit_onnx_tf.converter import OnnxToSavedModel


@hookimpl
def convkit_converters() -> Iterable[Converter]:
    """onnx-tf."""
    return (OnnxToSavedModel(),)
