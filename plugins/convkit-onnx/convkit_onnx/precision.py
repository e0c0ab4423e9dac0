"""The true precision of an ONNX model, judged by what the file holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from convkit.plugin import LayerInfo
from convkit_onnx import integers

if TYPE_CHECKING:
    from convkit_onnx.layers import GraphFacts

HALF = ("float16", "bfloat16")
_WEIGHTS_ONLY = frozenset({"DequantizeLinear", "MatMulNBits"})
_FEW_BITS = 4


def true_precision(
    nodes: Sequence[Any],
    layers: Sequence[LayerInfo],
    facts: GraphFacts,
    parameter_bytes: Mapping[str, int],
) -> str:
    """By the multiply-accumulates: `int8` where both operands of most are integers of a static
    scale, `int8-dynamic` where that scale is found at run time. Else by the weights:
    `int8-weights`, `int4-weights` or `fp16` where most are stored so.

    What a runtime computes in integers is another question: see `LayerInfo.compute`.

    Args:
        nodes: all nodes of the main graph, constants among them.
        layers: of the same graph.
        parameter_bytes: dtype to bytes.
    """
    kinds = {node.op_type for node in nodes}
    makers = {name: node for node in nodes for name in node.output}
    arithmetic = [layer for layer in layers if layer.op_type not in integers.CONVERSIONS]
    arithmetic = [x for x in arithmetic if x.macs] or [x for x in arithmetic if x.parameter_count]
    whole = sum(max(layer.macs, 1) for layer in arithmetic)
    integer = sum(
        max(layer.macs, 1)
        for layer in arithmetic
        if layer.compute == "int8" or integers.quantized(makers[layer.outputs[0]], facts)
    )
    if integer * 2 > whole:
        return "int8-dynamic" if kinds & integers.DYNAMIC else "int8"
    floats = sum(parameter_bytes.get(name, 0) for name in ("float32", "float64"))
    narrow = sum(parameter_bytes.get(name, 0) for name in ("int4", "uint4", "int2", "uint2"))
    stored = narrow + sum(parameter_bytes.get(name, 0) for name in ("int8", "uint8"))
    if kinds & _WEIGHTS_ONLY and stored > floats:
        return "int4-weights" if _few_bits(nodes) or narrow * 2 > stored else "int8-weights"
    half = sum(parameter_bytes.get(name, 0) for name in HALF)
    if not half + floats:
        kinds_of = [layer.compute for layer in layers if layer.op_type != "Cast"]
        half = sum(kind in HALF for kind in kinds_of)
        floats = sum(kind in ("float32", "float64") for kind in kinds_of)
    return "fp16" if half > floats else "fp32"


def _few_bits(nodes: Sequence[Any]) -> bool:
    """Whether weights of four bits or fewer are packed into bytes."""
    packed = [node for node in nodes if node.op_type == "MatMulNBits"]
    bits = [a.i for node in packed for a in node.attribute if a.name == "bits"]
    few = sum(bit <= _FEW_BITS for bit in bits)
    return bool(few * 2 > len(packed) > 0)
