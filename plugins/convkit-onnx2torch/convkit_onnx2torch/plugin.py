"""Hooks of convkit-onnx2torch; cheap to import, since every command line does it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from convkit.plugin import hookimpl

if TYPE_CHECKING:
    from convkit.plugin import Converter


@hookimpl
def convkit_converters() -> Iterable[Converter]:
    """Two importers, rivals on the same road, for float32 and for models that are half already."""
    from convkit_onnx2torch.by_onnx2fx import ByOnnx2Fx, ByOnnx2FxFp16
    from convkit_onnx2torch.by_onnx2torch import ByOnnx2Torch, ByOnnx2TorchFp16

    return (ByOnnx2Fx(), ByOnnx2Torch(), ByOnnx2FxFp16(), ByOnnx2TorchFp16())
