"""The plugin's hooks: four quantizers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from convkit.plugin import hookimpl

if TYPE_CHECKING:
    from convkit.plugin import Converter


@hookimpl
def convkit_converters() -> Iterable[Converter]:
    """Static int8 of OpenVINO and ONNX models; compressed weights of OpenVINO models."""
    from convkit_nncf.onnx_int8 import OnnxInt8
    from convkit_nncf.openvino_int8 import OpenVinoInt8
    from convkit_nncf.weights import Int4Weights, Int8Weights

    return (OpenVinoInt8(), OnnxInt8(), Int8Weights(), Int4Weights())
