"""Walking over an ONNX graph and the graphs inside its nodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def all_nodes(graph: Any) -> Iterator[Any]:
    """The nodes of a graph and of all graphs inside them."""
    for node in graph.node:
        yield node
        yield from inside(node)


def inside(node: Any) -> Iterator[Any]:
    """The nodes of all graphs inside a node."""
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            yield from all_nodes(graph)
