"""The ends of the ONNX graph, made ready for onnx2tf: names that the target can bear, and, where
the native layout is asked for, channels last by explicit transposes.

onnx2tf would turn inputs and outputs by itself, but which of them is nowhere told and, among equal
sizes, nowhere to be seen. Here it is part of the graph, whose meaning the tool keeps; it takes such
a transpose together with its own inverse and nothing is left of either.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from convkit_onnx2tf.names import fitting_names
from convkit_onnx2tf.pictures import pictures

_LAST = {4: (0, 2, 3, 1), 5: (0, 2, 3, 4, 1)}
_FIRST = {4: (0, 3, 1, 2), 5: (0, 4, 1, 2, 3)}


@dataclass(frozen=True)
class Port:
    """One input or output of the prepared graph.

    Attributes:
        name: its new name.
        permutation: as in `TensorSpec.permutation`.
    """

    name: str
    permutation: tuple[int, ...] = ()


def prepare(
    model: Any, fit: re.Pattern[str], native: bool
) -> tuple[Mapping[str, Port], Mapping[str, Port]]:
    """Change the ends of the graph in place.

    A changed tensor is tied to its old name by an Identity or a Transpose, so that references from
    inside subgraphs stay valid; so is an output that is an input or a constant.

    Returns:
        Old name to port, for inputs and for outputs, in the graph's order.
    """
    from onnx import helper

    graph = model.graph
    initialized = {tensor.name for tensor in graph.initializer}
    sources = [value for value in graph.input if value.name not in initialized]
    computed = {name for node in graph.node for name in node.output}
    turned = pictures(graph) if native else frozenset()
    inner = {*computed, *initialized}

    def names_for(values: Any, taken: set[str]) -> dict[str, str]:
        """A turned tensor keeps its name too; what it was called inside is called otherwise."""
        return fitting_names((value.name for value in values), fit, taken)

    inputs = names_for(sources, set())
    outputs = names_for(graph.output, set(inputs.values()))
    for name in outputs:
        if outputs[name] == name and name not in computed:
            outputs[name] = fitting_names([name], fit, {*inputs.values(), *outputs.values()})[name]
    aliases: dict[str, str] = {}
    before, after = [], []
    entry: dict[str, Port] = {}
    leave: dict[str, Port] = {}
    for value in sources:
        old, new, last = value.name, inputs[value.name], _turn(value, turned)
        entry[old] = Port(new, last)
        if last or new != old:
            inside = aliases.setdefault(old, _inside(old, new, inner))
            before.append(_tie(helper, new, inside, _FIRST[len(last)] if last else ()))
            value.name = new
            _permute(value, last)
    for value in graph.output:
        old, new, last = value.name, outputs[value.name], _turn(value, turned)
        leave[old] = Port(new, last)
        if last or new != old:
            inside = aliases.setdefault(old, _inside(old, new, inner))
            after.append(_tie(helper, inside, new, last))
            value.name = new
            _permute(value, last)
    for node in graph.node:
        _rename(node, aliases)
    for value in graph.value_info:
        value.name = aliases.get(value.name, value.name)
    nodes = [*before, *graph.node, *after]
    del graph.node[:]
    graph.node.extend(nodes)
    return entry, leave


def _turn(value: Any, turned: frozenset[str]) -> tuple[int, ...]:
    if value.name not in turned or not value.type.tensor_type.HasField("shape"):
        return ()
    return _LAST.get(len(value.type.tensor_type.shape.dim), ())


def _inside(old: str, new: str, inner: set[str]) -> str:
    """What a tensor is called inside the graph from now on."""
    if old != new:
        return old
    name = f"{old}_channels_first"
    while name in inner:
        name += "_"
    inner.add(name)
    return name


def _tie(helper: Any, source: str, target: str, permutation: tuple[int, ...]) -> Any:
    if permutation:
        return helper.make_node("Transpose", [source], [target], perm=permutation)
    return helper.make_node("Identity", [source], [target])


def _permute(value: Any, permutation: tuple[int, ...]) -> None:
    if permutation:
        shape = value.type.tensor_type.shape
        dimensions = [type(d).FromString(d.SerializeToString()) for d in shape.dim]
        del shape.dim[:]
        shape.dim.extend(dimensions[axis] for axis in permutation)


def _rename(node: Any, aliases: Mapping[str, str]) -> None:
    """In a node and, since inner graphs see outer names, in the graphs that it holds."""
    for names in (node.input, node.output):
        for index, name in enumerate(names):
            names[index] = aliases.get(name, name)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                _rename(inner, aliases)
            for value in graph.output:
                value.name = aliases.get(value.name, value.name)
