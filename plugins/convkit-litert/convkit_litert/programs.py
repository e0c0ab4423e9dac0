"""Exported programs as litert-torch can trace them."""

from __future__ import annotations

from typing import Any


def traceable(program: Any) -> Any:
    """The program's module without `detach_`.

    `torch.tensor(...)` in a forward method leaves one behind, which cannot be traced a second time
    ("Can't detach views in-place"). Outside of training it does nothing.
    """
    import torch

    module = program.module()
    targets = (torch.ops.aten.detach_.default, torch.ops.aten.detach.default)
    for inner in module.modules():
        if not isinstance(inner, torch.fx.GraphModule):
            continue
        found = [node for node in inner.graph.nodes if node.target in targets]
        for node in found:
            node.replace_all_uses_with(node.args[0])
            inner.graph.erase_node(node)
        if found:
            inner.recompile()
    return module
