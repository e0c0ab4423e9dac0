"""Which inputs and outputs of an ONNX graph are pictures or volumes, with channels first.

A rank of four does not make a picture: the heads of an attention have it too. A tensor is one if
nothing but element-wise work lies between it and an operator that convolves, pools or resizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

_SPATIAL = frozenset(
    "AveragePool BatchNormalization Conv ConvTranspose DepthToSpace GlobalAveragePool "
    "GlobalLpPool GlobalMaxPool InstanceNormalization LRN LpPool MaxPool MaxUnpool QLinearConv "
    "Resize SpaceToDepth Upsample".split()
)
_NEUTRAL = frozenset(
    "Abs Add Cast Ceil Clip Concat DequantizeLinear Div Dropout Elu Erf Exp Floor Gelu HardSigmoid "
    "HardSwish Identity LeakyRelu Log Max Min Mish Mul Neg PRelu Pad Pow QuantizeLinear Reciprocal "
    "Relu Selu Sigmoid Slice Softplus Softsign Split Sqrt Sub Sum Tanh Where".split()
)


def pictures(graph: Any) -> frozenset[str]:
    """Names of those inputs and outputs."""
    producers = {name: node for node in graph.node for name in node.output if name}
    consumers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)

    def before(name: str) -> Iterable[tuple[Any, Iterable[str]]]:
        node = producers.get(name)
        return () if node is None else ((node, node.input),)

    def after(name: str) -> Iterable[tuple[Any, Iterable[str]]]:
        return ((node, node.output) for node in consumers.get(name, ()))

    # Only the first operand of a convolution is a picture; weights may be inputs too.
    found = {v.name for v in graph.input if _leads(v.name, after, first_operand=True)}
    found |= {v.name for v in graph.output if _leads(v.name, before, first_operand=False)}
    return frozenset(found)


def _leads(
    start: str,
    neighbours: Callable[[str], Iterable[tuple[Any, Iterable[str]]]],
    first_operand: bool,
) -> bool:
    waiting, seen = [start], {start}
    while waiting:
        name = waiting.pop()
        for node, further in neighbours(name):
            if node.op_type in _SPATIAL:
                if not first_operand or node.input[0] == name:
                    return True
            elif node.op_type in _NEUTRAL:
                fresh = [n for n in further if n and n not in seen]
                seen.update(fresh)
                waiting.extend(fresh)
    return False
