"""The true precision of an ONNX model, judged by what its arithmetic does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from convkit.plugin import LayerInfo

HALF = ("float16", "bfloat16")


def true_precision(
    nodes: Sequence[Any], layers: Sequence[LayerInfo], parameter_bytes: Mapping[str, int]
) -> str:
    """`int8` where most multiply-accumulates are in integers of a static scale, `int8-dynamic`
    where their scale is found at run time, `fp16` where most float weights are half (of a model
    without weights: where most layers compute in half).

    Args:
        nodes: all nodes of the main graph.
        layers: of the same graph.
        parameter_bytes: dtype to bytes.
    """
    kinds = {node.op_type for node in nodes}
    arithmetic = [layer for layer in layers if layer.macs] or [
        layer for layer in layers if layer.parameter_count
    ]
    weight = sum(max(layer.macs, 1) for layer in arithmetic)
    integer = sum(max(layer.macs, 1) for layer in arithmetic if layer.compute == "int8")
    if integer * 2 > weight:
        dynamic = kinds & {"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"}
        return "int8-dynamic" if dynamic else "int8"
    # Integer weights that are expanded to float before the arithmetic.
    floats = sum(parameter_bytes.get(name, 0) for name in ("float32", "float64"))
    integers = sum(parameter_bytes.get(name, 0) for name in ("int8", "uint8"))
    if "DequantizeLinear" in kinds and integers > floats:
        return "int8-dynamic"
    half = sum(parameter_bytes.get(name, 0) for name in HALF)
    if not half + floats:
        kinds_of = [layer.compute for layer in layers if layer.op_type != "Cast"]
        half = sum(kind in HALF for kind in kinds_of)
        floats = sum(kind in ("float32", "float64") for kind in kinds_of)
    return "fp16" if half > floats else "fp32"
