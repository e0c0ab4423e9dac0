"""The plugin's hooks: one edge, onnx to tf-saved."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from convkit.plugin import hookimpl

if TYPE_CHECKING:
    from convkit.plugin import Converter


@hookimpl
def convkit_converters() -> Iterable[Converter]:
    """onnx-tf."""
    from convkit_onnx_tf.converter import OnnxToSavedModel

    return (OnnxToSavedModel(),)
