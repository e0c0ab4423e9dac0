"""What onnx2tf is known to have no converter for, from its own table of operators."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from convkit.plugin import Artifact, Obstacle
from convkit_onnx2tf.functions import known_by_definition
from convkit_onnx2tf.tool import variables_restored
from convkit_onnx2tf.walking import inside

_REMEDY = "Another road may know it (`convkit plan --explain`)."


def known_obstacles(artifact: Artifact) -> Sequence[Obstacle]:
    """Operators that are not in the table, that are not written out in others, and that no
    simplifier can compute beforehand."""
    import onnx

    with variables_restored():
        from onnx2tf.tflite_builder.op_registry import get_supported_onnx_ops

    model = onnx.load(str(artifact.path), load_external_data=False)
    return obstacles(model, {*get_supported_onnx_ops(), *known_by_definition()})


def obstacles(model: Any, supported: Collection[str]) -> Sequence[Obstacle]:
    """One obstacle for each unknown operator, with the layers that hold it."""
    known = {*supported, "Constant", *(function.name for function in model.functions)}
    found: dict[str, list[str]] = {}
    for layer, node in _live_nodes(model.graph):
        for inner in (node, *inside(node)):
            if inner.op_type not in known:
                found.setdefault(inner.op_type, []).append(layer)
    return tuple(
        Obstacle(operator, tuple(dict.fromkeys(layers)), _REMEDY)
        for operator, layers in found.items()
    )


def _live_nodes(graph: Any) -> Iterator[tuple[str, Any]]:
    """Nodes that an output needs and whose value depends on an input, with the names that
    convkit's inspector gives them; the others are folded away or dropped before the table counts.
    A shape counts as constant: it is one where the sizes are fixed."""
    needed = _needed(graph)
    weights = {tensor.name for tensor in graph.initializer}
    live = {value.name for value in graph.input if value.name not in weights}
    taken: set[str] = set()
    for index, node in enumerate(graph.node):
        if node.op_type == "Constant":
            continue
        name = node.name or f"{node.op_type}_{index}"
        name = name if name not in taken else f"{name}#{index}"
        taken.add(name)
        if node.op_type in ("Shape", "Size") or not live.intersection(_reads(node)):
            continue
        live.update(node.output)
        if needed.intersection(node.output):
            yield name, node


def _needed(graph: Any) -> set[str]:
    needed = {value.name for value in graph.output}
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(_reads(node))
    return needed


def _reads(node: Any) -> set[str]:
    """Names that a node reads, from inside its inner graphs too."""
    names = {name for inner in (node, *inside(node)) for name in inner.input}
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            names.update(value.name for value in graph.output)
    return names
