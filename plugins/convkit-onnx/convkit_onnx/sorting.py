"""Put the nodes of a graph into an order in which each can be computed."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from typing import Any


def sort_nodes(graph: Any) -> None:
    """Sort topologically, in place; nodes that are in order already keep it.

    Raises:
        ValueError: the graph has a cycle.
    """
    from heapq import heappop, heappush

    nodes = list(graph.node)
    maker = {name: i for i, node in enumerate(nodes) for name in node.output if name}
    waits: list[set[int]] = []
    feeds: dict[int, list[int]] = defaultdict(list)
    for index, node in enumerate(nodes):
        before = {maker[name] for name in reads(node) if name in maker} - {index}
        waits.append(before)
        for other in before:
            feeds[other].append(index)
    ready = [i for i, before in enumerate(waits) if not before]
    order: list[int] = []
    while ready:
        index = heappop(ready)
        order.append(index)
        for other in feeds[index]:
            waits[other].discard(index)
            if not waits[other]:
                heappush(ready, other)
    if len(order) != len(nodes):
        raise ValueError("the graph has a cycle")
    ordered = [type(nodes[i]).FromString(nodes[i].SerializeToString()) for i in order]
    del graph.node[:]
    graph.node.extend(ordered)


def reads(node: Any) -> Iterator[str]:
    """Tensors that a node reads, from inside its own subgraphs too."""
    waiting = deque([node])
    while waiting:
        current = waiting.popleft()
        yield from (name for name in current.input if name)
        for attribute in current.attribute:
            bodies = [attribute.g] if attribute.HasField("g") else []
            for body in (*bodies, *attribute.graphs):
                yield from (value.name for value in body.output)
                waiting.extend(body.node)
