"""Which operators tf2onnx translates, by its own registry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from convkit.plugin import Obstacle

_REWRITTEN = frozenset(
    {
        # Loops and branches of TensorFlow 1, and the arrays that they fill.
        *("Enter", "Exit", "LoopCond", "Merge", "NextIteration", "Switch"),
        *("TensorArrayV3", "TensorArrayReadV3", "TensorArrayWriteV3", "TensorArraySizeV3"),
        *("TensorArrayGatherV3", "TensorArrayScatterV3"),
        # Found as a part of larger patterns.
        *("GRUBlockCell", "ListDiff", "MatrixSetDiag", "MutableHashTableV2", "NoOp"),
        *("QuantizeAndDequantizeV2", "QuantizeAndDequantizeV3", "QuantizeAndDequantizeV4"),
        *("ResourceGather", "_FusedConv2D", "_FusedDepthwiseConv2dNative", "_FusedMatMul"),
    }
)
"""TensorFlow operators outside of the registry that tf2onnx's rewriters take away beforehand, in
graphs that it converts. Whether they do in a given graph shows in the conversion."""

_LISTS = frozenset({"TensorListReserve", "TensorListSetItem"})


def tensorflow_obstacles(nodes: Sequence[Any], opset: int) -> tuple[Obstacle, ...]:
    """Operators of a flat graph without a translation.

    Args:
        nodes: NodeDefs; those that depend on constants alone are folded and do not count.
    """
    from tf2onnx.handler import tf_op

    known = tf_op.create_mapping(opset, None)
    # Lists are translated together with a loop that is a function, as TensorFlow 2 has it.
    primitive_loops = any(node.op == "Enter" for node in nodes)
    constants: set[str] = set()
    found = []
    for node in nodes:
        sources = {i.partition(":")[0] for i in node.input if not i.startswith("^")}
        if node.op == "Const" or (sources and sources <= constants):
            constants.add(node.name)
        elif (primitive_loops and node.op in _LISTS) or (
            node.op not in known and node.op not in _REWRITTEN
        ):
            found.append((node.op, node.name))
    return _obstacles(found)


def tflite_obstacles(layers: Iterable[tuple[str, str]], opset: int) -> tuple[Obstacle, ...]:
    """TFLite operators without a translation.

    Args:
        layers: (operator, such as `CONV_2D`, and the layer's name).
    """
    from tf2onnx.handler import tf_op, tfl_op

    known = tf_op.create_mapping(opset, None)
    first = tfl_op.create_tfl_to_tf_mapping()
    return _obstacles((op, name) for op, name in layers if not _translated(op, known, first))


def _translated(operator: str, known: Mapping[str, Any], first: Mapping[str, Any]) -> bool:
    """In one pass, or in two by way of a TensorFlow operator."""
    spelled = f"TFL_{operator}"
    if spelled in known:
        return True
    if spelled not in first:
        return False
    _, keywords = first[spelled]
    made = keywords.get("tf_op")
    return made is None or made in known or made in _REWRITTEN


def _obstacles(found: Iterable[tuple[str, str]]) -> tuple[Obstacle, ...]:
    layers: dict[str, list[str]] = {}
    for operator, layer in found:
        layers.setdefault(operator, []).append(layer)
    return tuple(
        Obstacle(
            operator,
            tuple(names),
            "Convert the SavedModel that it was frozen from, or go by way of TFLite."
            if operator in _LISTS
            else "Take another road to ONNX, or write that part of the model with other operators.",
        )
        for operator, names in sorted(layers.items())
    )
