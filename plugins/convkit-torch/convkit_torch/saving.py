"""Write exported programs without anything that tells where they were made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.export import ExportedProgram

# Module paths (`nn_module_stack`) stay: they name the layers in every later format.
_PRIVATE = ("stack_trace", "source_fn_stack", "from_node", "custom")


def strip(program: ExportedProgram) -> ExportedProgram:
    """Remove stack traces, which quote source code and absolute paths, from every node in place."""
    import torch

    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                for key in _PRIVATE:
                    node.meta.pop(key, None)
    return program


def save(program: ExportedProgram, output: Path) -> None:
    """Write a `.pt2` archive, stripped."""
    import torch

    torch.export.save(strip(program), str(output))
