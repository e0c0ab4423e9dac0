"""Input and output names that survive TensorFlow.

TensorFlow makes keyword arguments of input names and node names of both, and rewrites in silence
what does not fit (`input.1`, `output:0`, `495`, `/head/Concat`). So misfits are renamed here,
where it can be told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any

_FIT = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_MISFIT = re.compile(r"[^A-Za-z0-9_]")
_NO_SCOPE = re.compile(r"[^A-Za-z0-9_.\\/>-]")
_RESERVED = frozenset({"self"})


def safe_names(names: Iterable[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """Each name to a unique one of the form `[A-Za-z][A-Za-z0-9_]*`.

    Fitting names are kept unless they are in `taken`. Upper and lower case are not told apart,
    as TensorFlow does not in node names.
    """
    used = {name.lower() for name in taken}
    names = tuple(dict.fromkeys(names))
    result: dict[str, str] = {}
    for name in names:  # fitting names first: no misfit may take one of theirs
        if _FIT.fullmatch(name) and name not in _RESERVED and name.lower() not in used:
            result[name] = name
            used.add(name.lower())
    for name in names:
        if name in result:
            continue
        base = _MISFIT.sub("_", name).strip("_") or "tensor"
        if not base[0].isalpha() or base in _RESERVED:
            base = f"tensor_{base}"
        candidate, number = base, 0
        while candidate.lower() in used:
            number += 1
            candidate = f"{base}_{number}"
        used.add(candidate.lower())
        result[name] = candidate
    return {name: result[name] for name in names}


def name_nodes(model: Any) -> None:
    """Give nodes without a name, or with one that is taken, a name of their own, in place; and
    write one that is no name in TensorFlow (tf2onnx leaves `dense;bias` and `call:0`) as one.

    onnx-tf names TensorFlow's operators by those of the nodes, and keeps the weights of recurrent
    ones under them.
    """
    taken: set[str] = set()
    waiting = [model.graph]
    numbers = count()
    while waiting:
        for node in waiting.pop().node:
            node.name = _NO_SCOPE.sub("_", node.name)
            while not node.name or node.name in taken:
                node.name = f"{node.op_type}_{next(numbers)}"
            taken.add(node.name)
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    waiting.append(attribute.g)
                waiting.extend(attribute.graphs)


def rename_boundary(model: Any) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Give the graph's inputs and outputs safe names, in place.

    A renamed tensor is tied to its old name by an Identity node, so that references from inside
    subgraphs stay valid; so is an output that is an input or a constant.

    Returns:
        Old name to new name, for inputs and for outputs, in the graph's order.
    """
    from onnx import helper

    graph = model.graph
    initialized = {tensor.name for tensor in graph.initializer}
    sources = [value for value in graph.input if value.name not in initialized]
    inputs = safe_names(value.name for value in sources)
    outputs = safe_names((value.name for value in graph.output), taken=inputs.values())
    computed = {name for node in graph.node for name in node.output}
    before, after = [], []
    for value in sources:
        old, value.name = value.name, inputs[value.name]
        if old != value.name:
            before.append(helper.make_node("Identity", [value.name], [old]))
    for value in graph.output:
        old = value.name
        if outputs[old] == old and old not in computed:
            outputs[old] = safe_names([old], (*inputs.values(), *outputs.values()))[old]
        value.name = outputs[old]
        if old != value.name:
            after.append(helper.make_node("Identity", [old], [value.name]))
    nodes = [*before, *graph.node, *after]
    del graph.node[:]
    graph.node.extend(nodes)
    return inputs, outputs
