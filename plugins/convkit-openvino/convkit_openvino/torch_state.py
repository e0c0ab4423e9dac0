"""Buffers that an exported program changes while it runs."""

from __future__ import annotations

from typing import Any


def assigned_buffers(program: Any) -> tuple[str, ...]:
    """Names of the buffers, from the program as it was exported; nothing is taken apart."""
    buffers = dict(program.graph_signature.inputs_to_buffers)
    found = [
        str(spec.target)
        for spec in program.graph_signature.output_specs
        if spec.kind.name == "BUFFER_MUTATION"  # how torch wrote it up to 2.5
    ]
    for node in program.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if schema is None or not node.args:
            continue
        if schema.is_mutable:
            found.append(buffers.get(_root(node.args[0]), ""))
        elif schema.name == "aten::batch_norm" and node.args[5] is True:  # in training mode
            found.append(buffers.get(_root(node.args[3]), ""))
    return tuple(dict.fromkeys(name for name in found if name))


def _root(node: Any) -> str:
    """The name of the tensor that a chain of views looks at."""
    while getattr(node, "op", "") == "call_function" and node.args:
        schema = getattr(node.target, "_schema", None)
        if schema is None or not schema.returns or schema.returns[0].alias_info is None:
            break
        node = node.args[0]
    return str(getattr(node, "name", ""))


def written_back(graph: Any) -> tuple[str, ...]:
    """Names of the buffers that a decomposed graph assigns: it does so in the open, by a `copy_`
    onto the attribute."""
    return tuple(
        str(node.args[0].target)
        for node in graph.nodes
        if str(node.target) == "aten.copy_.default" and node.args[0].op == "get_attr"
    )
