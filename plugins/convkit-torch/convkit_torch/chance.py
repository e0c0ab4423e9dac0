"""Programs that draw random numbers: no two runs of them agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.export import ExportedProgram

_SWITCHES = ("train", "training")
_SHARES = ("p", "dropout_p")


def random_operators(program: ExportedProgram) -> tuple[str, ...]:
    """The operators that draw random numbers when the program runs, each once."""
    import torch

    found = {
        str(node.target): None
        for module in program.graph_module.modules()
        if isinstance(module, torch.fx.GraphModule)
        for node in module.graph.nodes
        if _draws(node)
    }
    return tuple(found)


def _draws(node: Any) -> bool:
    """Whether torch marks the operator as one that does, and it is not switched off."""
    import torch

    target = node.target
    if not isinstance(target, torch._ops.OpOverload):
        return False
    if torch.Tag.nondeterministic_seeded not in target.tags:
        return False
    given = {
        argument.name: node.args[place]
        if place < len(node.args)
        else node.kwargs.get(argument.name, argument.default_value)
        for place, argument in enumerate(target._schema.arguments)
    }
    for name in (*_SWITCHES, *_SHARES):
        if name in given and not isinstance(given[name], torch.fx.Node) and not given[name]:
            return False
    return True
