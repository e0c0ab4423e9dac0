"""An exported program as one flat module, whose recording is the same every time."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

_CLASS = "Program"


def flatten(program: ExportedProgram) -> torch.fx.GraphModule:
    """A graph module that takes the program's tensor inputs in order and returns its tensor
    outputs as a tuple; weights and buffers are attributes of the module itself.

    Nodes keep the names that the inspector gives to layers. TorchScript numbers the classes of
    submodules by a counter of the process, so a module without any gives the same file each time.
    """
    import torch

    from convkit_torch.signature import input_slots, output_slots

    source: Any = program.module()
    graph = source.graph
    inputs = {slot.index: slot.node for slot in input_slots(program)}
    kept = [slot.index for slot in output_slots(program)]
    held: dict[str, Any] = {}
    place = 0
    for node in list(graph.nodes):
        if node.op == "placeholder":
            if place in inputs:
                node._rename(inputs[place])
                node.target = inputs[place]
            else:  # a constant of the call, which the program has taken in already
                graph.erase_node(node)
            place += 1
        elif node.op == "get_attr":
            held[node.name] = operator.attrgetter(node.target)(source)
            node.target = node.name
        elif node.op == "call_module":  # checks the sizes of inputs, in Python
            graph.erase_node(node)
    results = torch.utils._pytree.tree_leaves(graph.output_node().args)
    graph.output_node().args = (tuple(results[index] for index in kept),)
    graph.set_codegen(torch.fx.graph.CodeGen())
    return torch.fx.GraphModule(held, graph, _CLASS).eval()


def constant(module: torch.fx.GraphModule, node: Any) -> torch.Tensor | None:
    """The value of a node that depends on weights alone, as `weight.t()`; None for any other."""
    import torch

    value = _value(module, node)
    return value.detach() if isinstance(value, torch.Tensor) else None


def _value(module: torch.fx.GraphModule, node: Any) -> Any:
    """A tensor, or the list that a split of one makes; None where it is not known."""
    import torch

    if not isinstance(node, torch.fx.Node):
        return None
    if node.op == "get_attr":
        return getattr(module, str(node.target))
    if node.op != "call_function" or not node.all_input_nodes or not _is_pure(node.target):
        return None
    known = {source: _value(module, source) for source in node.all_input_nodes}
    if any(value is None for value in known.values()):
        return None
    target: Any = node.target
    with torch.no_grad():
        return target(
            *torch.fx.map_arg(node.args, known.__getitem__),
            **torch.fx.map_arg(node.kwargs, known.__getitem__),
        )


def _is_pure(target: Any) -> bool:
    """Whether the result is that of every run: views, splits and casts of weights are."""
    import torch

    if target is operator.getitem:
        return True
    if not isinstance(target, torch._ops.OpOverload):
        return False
    return not target._schema.is_mutable and torch.Tag.nondeterministic_seeded not in target.tags
