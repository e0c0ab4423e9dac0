"""What ONNX Runtime computes in integers: measured on the graphs that 1.32 makes of small models
of one operator each, on x86-64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convkit_onnx.layers import GraphFacts

CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})
"""They turn one kind of number into another and compute nothing."""

HEAVY = frozenset({"Conv", "Gemm", "MatMul"})
"""Operators with multiply-accumulates that have integer kernels. ConvTranspose has none, nor have
the recurrent ones with static scales."""

LIGHT = frozenset(
    "Add ArgMax AveragePool Concat DepthToSpace Expand Flatten Gather GlobalAveragePool Identity "
    "LeakyRelu MaxPool Mul ReduceMax Reshape Resize Sigmoid Slice Softmax Split Squeeze Transpose "
    "Unsqueeze Where".split()
)
"""Further operators that are fused with the conversions around them, or moved past them."""

DYNAMIC = frozenset(
    {"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "QAttention"}
)
"""Operators that find their scales at run time."""

_INTEGER = frozenset(
    {"ConvInteger", "MatMulInteger", "MatMulIntegerToFloat", "QGemm", *DYNAMIC} - CONVERSIONS
)
_WITH_OPERANDS = HEAVY | {"ConvTranspose"}


def compute(node: Any, facts: GraphFacts) -> str:
    """The type that a node computes in: `int8` where it is an integer operator or ONNX Runtime
    makes one of it; that of its result otherwise; empty for conversions."""
    if node.op_type in CONVERSIONS:
        return ""
    if is_integer(node.op_type) or fuses(node, facts):
        return "int8"
    names = [*node.output, *node.input]
    return next((facts.dtypes[n] for n in names if facts.dtypes.get(n)), "")


def is_integer(op_type: str) -> bool:
    """Whether an operator is of integers by its own name."""
    return op_type in _INTEGER or op_type.startswith("QLinear")


def quantized(node: Any, facts: GraphFacts) -> bool:
    """Whether both operands of a multiplication are integers of some width in the file, whatever
    a runtime makes of that."""
    if is_integer(node.op_type):
        return True
    return node.op_type in _WITH_OPERANDS and all(_stored(n, facts) for n in node.input[:2])


def fuses(node: Any, facts: GraphFacts) -> bool:
    """Whether ONNX Runtime replaces a float operator between conversions by one of integers.

    Eight bits only: with 16 it computes in float on a CPU. Of signed activations it leaves most
    in float on x86, so they do not count.
    """
    if node.op_type in HEAVY:
        if not all(_narrow(name, facts) for name in node.input[:2]):
            return False
        free = _only_quantized if node.op_type == "Conv" else _unshared
        return free(node.output[0], facts)
    if node.op_type not in LIGHT:
        return False
    operands = node.input[:1] if node.op_type == "Resize" else node.input
    data = [n for n in operands if _floating(n, facts)]
    results = [n for n in node.output if _floating(n, facts)]
    return (
        bool(data)
        and all(_narrow(n, facts) for n in data)
        and all(_only_quantized(n, facts) for n in results)
    )


def _narrow(name: str, facts: GraphFacts) -> bool:
    """Whether a tensor is dequantized from bytes of a kind that kernels take."""
    stored = _stored(name, facts)
    return stored == "uint8" or (stored == "int8" and name in facts.constants)


def _floating(name: str, facts: GraphFacts) -> bool:
    return bool(name) and (facts.dtypes.get(name) or "float32").startswith("float")


def _stored(name: str, facts: GraphFacts) -> str:
    """The integer type behind a dequantized tensor; empty for any other tensor."""
    maker = facts.producers.get(name)
    if maker is None or maker.op_type != "DequantizeLinear":
        return ""
    return facts.dtypes.get(maker.input[0], "") or "uint8"


def _only_quantized(name: str, facts: GraphFacts) -> bool:
    """Whether a tensor goes into one conversion and nowhere else. A Relu before it vanishes where
    zero is the lowest integer."""
    readers = facts.consumers.get(name, ())
    if name in facts.outputs or len(readers) != 1:
        return False
    (reader,) = readers
    if reader.op_type != "Relu":
        return bool(reader.op_type == "QuantizeLinear")
    result = reader.output[0]
    return _only_quantized(result, facts) and _zero_is_lowest(facts.consumers[result][0], facts)


def _zero_is_lowest(node: Any, facts: GraphFacts) -> bool:
    return node.op_type == "QuantizeLinear" and (
        len(node.input) < 3 or not node.input[2] or node.input[2] in facts.lowest
    )


def _unshared(name: str, facts: GraphFacts) -> bool:
    """Whether a tensor is not both quantized and read as it is."""
    readers = facts.consumers.get(name, ())
    kinds = {reader.op_type for reader in readers}
    if "QuantizeLinear" not in kinds:
        return True
    return name not in facts.outputs and len(readers) == 1
