"""What kind of network a graph is, found by its operators and never by their names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

_PRODUCTS = frozenset({"MatMul", "Gemm", "FusedMatMul"})
_ATTENTION = frozenset(
    {
        "Attention",
        "GroupQueryAttention",
        "MultiHeadAttention",
        "PagedAttentionExtension",
        "ScaledDotProductAttention",
    }
)
"""Operators that are attention as a whole, of OpenVINO and ONNX."""
_BETWEEN = frozenset(
    "Add And Cast Clamp Clip Convert Div Divide Dropout Flatten Identity Mul Multiply Pad Reshape "
    "Select Slice Split Squeeze StridedSlice Sub Subtract Transpose Unsqueeze VariadicSplit "
    "Where".split()
)
"""Scaling, masking and reshaping: what stands between an attention's products and its Softmax."""
_LOPSIDED = frozenset(
    "Elu Erf Gelu HSigmoid HSwish HardSigmoid HardSwish LeakyRelu Mish PRelu PReLU Selu SoftPlus "
    "Softplus Swish".split()
)
"""Activations with results of both signs, most of them of one. An Erf is part of a Gelu that was
taken apart, a HardSigmoid of a HardSwish."""


@dataclass(frozen=True)
class Node:
    """An operator.

    Attributes:
        kind: its type.
        sources: names of the operators that its operands come from, constants left out; an input
            of the model counts by its own name.
    """

    kind: str
    sources: tuple[str, ...]


Graph = Mapping[str, Node]
"""Name of an operator to the operator."""


def is_transformer(graph: Graph) -> bool:
    """Whether it holds attention: a Softmax of a product of two activations, whose result is
    multiplied with another activation. A Softmax behind a Linear layer, or one in front of constant
    weights, as in a detector's decoding of distances, is none."""
    before = {name: node.sources for name, node in graph.items()}
    behind = _consumers(graph)
    return any(
        node.kind in _ATTENTION
        or (
            node.kind == "Softmax"
            and any(_multiplies_activations(x) for x in _neighbours(graph, name, before))
            and any(_multiplies_activations(x) for x in _neighbours(graph, name, behind))
        )
        for name, node in graph.items()
    )


def is_lopsided(graph: Graph) -> bool:
    """Whether activations stand in it that asymmetric ranges serve better: SiLU and its kin."""
    behind = _consumers(graph)
    return any(
        node.kind in _LOPSIDED
        or (node.kind == "Sigmoid" and _gates_its_own_input(graph, behind.get(name, ()), node))
        for name, node in graph.items()
    )


def _gates_its_own_input(graph: Graph, goals: Sequence[str], sigmoid: Node) -> bool:
    """x * sigmoid(x): a SiLU that was taken apart."""
    products = [graph[goal] for goal in goals if graph[goal].kind in ("Mul", "Multiply")]
    return any(source in product.sources for product in products for source in sigmoid.sources)


def _multiplies_activations(node: Node) -> bool:
    return node.kind in _PRODUCTS and len(node.sources) > 1


def _consumers(graph: Graph) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for name, node in graph.items():
        for source in node.sources:
            found.setdefault(source, []).append(name)
    return {name: tuple(goals) for name, goals in found.items()}


def _neighbours(graph: Graph, start: str, next_to: Mapping[str, Sequence[str]]) -> Iterator[Node]:
    """The operators next to one, in one direction, past all that only scales and reshapes."""
    front, seen = [start], {start}
    while front:
        for name in next_to.get(front.pop(), ()):
            node = graph.get(name)
            if node is None or name in seen:
                continue
            seen.add(name)
            if node.kind in _BETWEEN:
                front.append(name)
            else:
                yield node
