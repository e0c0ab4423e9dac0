"""Which nodes of a rewritten graph do the work of which layers of the graph before."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any


def counterparts(
    before: Sequence[Any], after: Sequence[Any], constants: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """Layer to the nodes that now compute it; none where it was folded into constants or removed.

    A node that kept its name and type is its own counterpart. Of the rest, what lies in the old
    graph between the tensors that both graphs have, the new nodes between the same tensors
    compute together. Rewriting keeps the names of tensors that it does not touch.

    Args:
        before, after: nodes with unique names, constants left out.
        constants: constant tensors of the graph before.
    """
    kinds = {node.name: node.op_type for node in before}
    kept = {node.name for node in after if kinds.get(node.name) == node.op_type}
    old = _Old(before, after, constants)
    found: dict[str, dict[str, None]] = {node.name: {} for node in before}
    for group in _groups(before, after):
        fresh = [node.name for node in group if node.name not in kept]
        for layer in old.behind(group):
            found[layer].update(dict.fromkeys(fresh or [node.name for node in group]))
    for name in kept:
        found[name] = {name: None}
    for node in before:  # of equal computations, one does the work of all
        if not found[node.name]:
            others = (found[twin.name] for twin in old.twins[node.name])
            found[node.name] = next((nodes for nodes in others if nodes), {})
    return {layer: tuple(nodes) for layer, nodes in found.items()}


def _groups(before: Sequence[Any], after: Sequence[Any]) -> list[list[Any]]:
    """New nodes, joined where a tensor that the old graph does not have runs between them."""
    known = {name for node in before for name in (*node.input, *node.output)}
    makers = {name: node.name for node in after for name in node.output if name}
    leader = {node.name: node.name for node in after}

    def lead(name: str) -> str:
        while leader[name] != name:
            name = leader[name]
        return name

    for node in after:
        for name in node.input:
            if name in makers and name not in known:
                leader[lead(node.name)] = lead(makers[name])
    groups: dict[str, list[Any]] = {}
    for node in after:
        groups.setdefault(lead(node.name), []).append(node)
    return list(groups.values())


class _Old:
    """The graph before, with what of it the new graph still has.

    Attributes:
        twins: layer to all layers that compute the same of the same, itself among them.
    """

    def __init__(
        self, before: Sequence[Any], after: Sequence[Any], constants: Collection[str]
    ) -> None:
        self.twins = _twins(before)
        self._makers = {name: node for node in before for name in node.output if name}
        self._alive = {name for node in after for name in (*node.input, *node.output)}
        self._constant = set(constants)
        for node in before:
            if node.input and all(name in self._constant for name in node.input if name):
                self._constant.update(node.output)

    def behind(self, group: Sequence[Any]) -> set[str]:
        """Layers between the results of new nodes and the nearest tensors that there still are."""
        found: set[str] = set()
        results = (name for node in group for name in node.output)
        front = [self._makers[name] for name in results if name in self._makers]
        while front:
            node = front.pop()
            if node.name not in found:
                found.add(node.name)
                front.extend(self._makers[n] for n in node.input if self._is_inside(n))
        return found

    def _is_inside(self, tensor: str) -> bool:
        if tensor not in self._makers or tensor in self._alive or tensor in self._constant:
            return False
        same = self.twins[self._makers[tensor].name]
        return not any(name in self._alive for twin in same for name in twin.output)


def _twins(nodes: Sequence[Any]) -> Mapping[str, list[Any]]:
    renamed: dict[str, str] = {}
    same: dict[Any, list[Any]] = {}
    found: dict[str, list[Any]] = {}
    for node in nodes:
        attributes = sorted(a.SerializeToString(deterministic=True) for a in node.attribute)
        inputs = tuple(renamed.get(name, name) for name in node.input)
        twins = same.setdefault((node.domain, node.op_type, inputs, tuple(attributes)), [])
        twins.append(node)
        found[node.name] = twins
        renamed.update(zip(node.output, twins[0].output, strict=False))
    return found
