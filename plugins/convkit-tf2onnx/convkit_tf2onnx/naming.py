"""The same file from the same call.

tf2onnx walks sets and names what it makes up by counters and addresses of objects: order and names
differ from call to call. Here nodes are put in the order in which the outputs need them, and
made-up names are made anew in that order; names that come from the model stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_COUNTER = re.compile(r"__\d+(?=$|:)")
"""How tf2onnx ends a name that it makes up; `:1` may follow for a further result."""


def canonical(graph: Any) -> None:
    """Order and name in place, loop bodies included. The graph's inputs and outputs keep their
    names; constants are named after the first node that takes them and the place there."""
    for body in _with_bodies(graph):
        _sort(body)
    bodies = _with_bodies(graph)
    kept = {value.name for value in (*graph.input, *graph.output)}
    renamed = _results(bodies, kept)
    renamed.update(_constants(bodies, kept, {*kept, *renamed.values()}, renamed))
    order = {name: place for place, name in enumerate(renamed.values())}
    for body in bodies:
        for node in body.node:
            node.input[:] = [renamed.get(name, name) for name in node.input]
            node.output[:] = [renamed.get(name, name) for name in node.output]
        for value in (*body.input, *body.output, *body.value_info, *body.initializer):
            value.name = renamed.get(value.name, value.name)
        body.initializer.sort(key=lambda tensor: (order.get(tensor.name, -1), tensor.name))
        body.value_info.sort(key=lambda value: (order.get(value.name, -1), value.name))


def nodes(graph: Any) -> Iterator[Any]:
    """All nodes, each followed by those of its bodies."""
    for node in graph.node:
        yield node
        for body in _bodies(node):
            yield from nodes(body)


def _bodies(node: Any) -> list[Any]:
    return [attribute.g for attribute in node.attribute if attribute.HasField("g")]


def _with_bodies(graph: Any) -> list[Any]:
    return [graph, *(body for node in nodes(graph) for body in _bodies(node))]


def _sort(graph: Any) -> None:
    """Nodes in the order in which a depth-first walk from the outputs leaves them."""
    makers = {name: node for node in graph.node for name in node.output}
    done: set[int] = set()
    ordered: list[Any] = []
    for start in [*(makers.get(value.name) for value in graph.output), *graph.node]:
        pending = [] if start is None else [start]
        while pending:
            node = pending[-1]
            missing = [m for m in _needed(node, makers) if id(m) not in done]
            if id(node) in done or not missing:
                pending.pop()
                if id(node) not in done:
                    done.add(id(node))
                    ordered.append(node)
            else:
                pending.extend(reversed(missing))
    copies = [type(node).FromString(node.SerializeToString()) for node in ordered]
    del graph.node[:]
    graph.node.extend(copies)


def _needed(node: Any, makers: dict[str, Any]) -> list[Any]:
    """Makers of the operands, and of what the node's bodies read from outside."""
    names = [*node.input, *(n for body in _bodies(node) for x in nodes(body) for n in x.input)]
    names += [value.name for body in _bodies(node) for value in body.output]
    found = [makers[name] for name in names if name in makers]
    return [maker for maker in found if maker is not node]


def _results(bodies: list[Any], kept: set[str]) -> dict[str, str]:
    """New names for made-up names of nodes' results and of bodies' inputs."""
    taken = set(kept)
    renamed: dict[str, str] = {}
    for body in bodies:
        for name in [
            *(value.name for value in body.input),
            *(name for node in body.node for name in node.output),
        ]:
            if name and name not in kept and name not in renamed:
                renamed[name] = _unique(_COUNTER.sub("", name), taken)
    names: set[str] = set()
    for body in bodies:
        for node in body.node:
            node.name = _unique(_COUNTER.sub("", node.name), names)
    return renamed


def _constants(
    bodies: list[Any], kept: set[str], taken: set[str], results: dict[str, str]
) -> dict[str, str]:
    constants = {tensor.name for body in bodies for tensor in body.initializer}
    renamed: dict[str, str] = {}
    for body in bodies:
        for node in body.node:
            for place, name in enumerate(node.input):
                if name in constants and not (name in kept or name in results or name in renamed):
                    renamed[name] = _unique(f"{node.name}/operand_{place}", taken)
    return renamed


def _unique(name: str, taken: set[str]) -> str:
    candidate, number = name, 0
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    taken.add(candidate)
    return candidate
