"""Walking over an ONNX graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def domain_of(domain: str) -> str:
    """The domain by one name: the default one has two."""
    return "" if domain == "ai.onnx" else domain


def graphs(graph: Any) -> Iterator[Any]:
    """The graph and all graphs inside its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from graphs(inner)


def values(graph: Any) -> Iterator[str]:
    """The names of all values of one graph, each as often as it stands there."""
    for node in graph.node:
        yield from node.input
        yield from node.output
    for value in (*graph.input, *graph.output, *graph.initializer):
        yield value.name
    for sparse in graph.sparse_initializer:
        yield sparse.values.name


def copied(node: Any) -> Any:
    """A copy of a node that outlives its graph."""
    import onnx

    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy


def inferred(graph: Any) -> dict[str, tuple[int | str, ...]]:
    """Value to shape, where its rank is known; an axis that is not known is an empty text."""
    shapes: dict[str, tuple[int | str, ...]] = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        if kind.HasField("shape"):
            shapes[value.name] = tuple(
                int(d.dim_value) if d.HasField("dim_value") else d.dim_param for d in kind.shape.dim
            )
    for tensor in graph.initializer:
        shapes[tensor.name] = tuple(tensor.dims)
    return shapes
