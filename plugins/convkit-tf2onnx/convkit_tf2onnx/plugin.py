"""The plugin's hooks: three edges to ONNX."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from convkit.plugin import hookimpl

if TYPE_CHECKING:
    from convkit.plugin import Converter


@hookimpl
def convkit_converters() -> Iterable[Converter]:
    """One edge for each format that tf2onnx reads."""
    from convkit_tf2onnx.from_frozen import FromFrozen
    from convkit_tf2onnx.from_saved import FromSaved
    from convkit_tf2onnx.from_tflite import FromTflite

    return (FromSaved(), FromFrozen(), FromTflite())
