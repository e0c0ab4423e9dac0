"""Models that draw random numbers: no two runs of them agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convkit_onnx import reading

if TYPE_CHECKING:
    import onnx

_DRAWING = frozenset(
    {
        "Bernoulli",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    }
)


def random_operators(model: onnx.ModelProto) -> tuple[str, ...]:
    """Types of the operators that draw random numbers when the model runs, each once. A seed makes
    them repeat themselves in one runtime, and in no other."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    found = {
        node.op_type: None
        for holder in (model.graph, *model.functions)
        for graph in reading.graphs(holder)
        for node in graph.node
        if node.op_type in _DRAWING or _trains(node, weights)
    }
    return tuple(found)


def _trains(node: Any, weights: dict[str, Any]) -> bool:
    """Whether it is a dropout that is switched on, by a constant (opset 12 and later)."""
    import onnx

    if node.op_type != "Dropout" or len(node.input) < 3 or node.input[2] not in weights:
        return False
    return bool(onnx.numpy_helper.to_array(weights[node.input[2]]).any())
