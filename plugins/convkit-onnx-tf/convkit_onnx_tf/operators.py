"""What onnx-tf's own table of handlers says against a model. Runs beside onnx-tf."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from convkit.plugin import Obstacle

_SIZES = frozenset({"Shape", "Size"})


def obstacles(model: Any, handlers: Mapping[str, Mapping[str, Any]]) -> Sequence[Obstacle]:
    """Operators that have no handler, none of their version, or whose handler refuses them.

    Nodes whose results a simplifier folds away are left out: this edge wants a simplified model.

    Args:
        model: with or without its weights.
        handlers: domain to operator type to handler, bound to the model's opset, as from onnx-tf's
            `get_all_backend_handlers`.
    """
    found: dict[str, list[str]] = {}
    for layer, node in _lasting(model.graph):
        fault = _fault(node, handlers.get(node.domain, {}).get(node.op_type))
        if fault:
            found.setdefault(fault, []).append(layer)
    remedy = "Export at opset 12 or older, or take another road."
    return tuple(Obstacle(what, tuple(dict.fromkeys(at)), remedy) for what, at in found.items())


def _fault(node: Any, handler: Any) -> str:
    kind = f"{node.domain}.{node.op_type}" if node.domain else str(node.op_type)
    if handler is None:
        return kind
    version = handler.SINCE_VERSION
    if not hasattr(handler, f"version_{version}"):
        return f"{kind} of opset {version}"
    from onnx_tf.pb_wrapper import OnnxNode

    try:
        handler.args_check(OnnxNode(node))
    except RuntimeError as refusal:  # what onnx-tf raises on purpose
        return f"{kind} ({str(refusal).rstrip('.')})"
    except Exception:  # it wants to see the tensors, which exist only in the conversion
        return ""
    return ""


def _lasting(graph: Any) -> Iterator[tuple[str, Any]]:
    """Nodes that depend on the values of inputs, those of subgraphs among them, with the name of
    the main graph's layer, as the inspector of ONNX files gives it."""
    initialized = {tensor.name for tensor in graph.initializer}
    alive = {value.name for value in graph.input if value.name not in initialized}
    taken: set[str] = set()
    for index, node in enumerate(graph.node):
        if node.op_type == "Constant":
            continue
        name = node.name or f"{node.op_type}_{index}"
        name = name if name not in taken else f"{name}#{index}"
        taken.add(name)
        inside = list(_inside(node))
        reads = {*node.input, *(x for inner in inside for x in inner.input)}
        random = not node.input and not inside
        if node.op_type in _SIZES or not (reads & alive or random):
            continue
        alive.update(node.output)
        yield name, node
        yield from ((name, inner) for inner in inside)


def _inside(node: Any) -> Iterator[Any]:
    """Nodes of a node's own subgraphs, at any depth."""
    for attribute in node.attribute:
        bodies = [attribute.g] if attribute.HasField("g") else []
        for body in (*bodies, *attribute.graphs):
            for inner in body.node:
                yield inner
                yield from _inside(inner)
