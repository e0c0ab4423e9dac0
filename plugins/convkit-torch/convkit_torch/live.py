"""Save a live object of the user's process: the way into convkit from Python."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from convkit.errors import UsageError


def is_torch_model(model: object) -> bool:
    """Whether the object is an nn.Module or an ExportedProgram.

    It never imports torch: an object of torch can only exist where torch has been imported.
    """
    torch: Any = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "nn"):
        return False
    if isinstance(model, torch.nn.Module):
        return True
    export = sys.modules.get("torch.export")
    program = getattr(export, "ExportedProgram", None)
    return program is not None and isinstance(model, program)


def export_module(
    model: Any,
    example_inputs: Sequence[object],
    output: Path,
    dynamic: Mapping[str, tuple[int, ...]] | None = None,
) -> None:
    """Write a live model as a `.pt2` archive, without source paths. The model is not changed.

    Args:
        model: an nn.Module, or an ExportedProgram (then `example_inputs` is not needed).
        example_inputs: positional arguments of `forward`: tensors, numpy arrays or containers.
        dynamic: parameter of `forward` to the axes that stay open; an ExportedProgram has its own.

    Raises:
        UsageError: a module without example inputs.
        ConversionError: torch.export cannot capture the module.
    """
    import copy

    import torch

    from convkit_torch import reading, saving

    if isinstance(model, torch.export.ExportedProgram):
        saving.save(_copy_of(model), output)
        return
    if len(example_inputs) == 0:
        raise UsageError(
            "a live nn.Module needs example inputs",
            hint="Pass example_inputs=(tensor, ...) as you would call the module.",
        )
    if isinstance(model, torch.jit.ScriptModule):
        raise UsageError(
            "a TorchScript module cannot be exported",
            hint="Save it with torch.jit.save and convert the file.",
        )
    # Tracing leaves tensors in caches of some modules, so the user's own object stays out of it.
    module = copy.deepcopy(model).cpu().eval()
    saving.save(reading.export(module, _tensors(example_inputs), dynamic), output)


def _copy_of(program: Any) -> Any:
    """A program that shares the weights and owns its graph, so that stripping leaves the user's
    program alone."""
    import copy

    from torch.export import ExportedProgram

    return ExportedProgram(
        root=program.graph_module,
        graph=copy.deepcopy(program.graph_module.graph),
        graph_signature=program.graph_signature,
        state_dict=program.state_dict,
        range_constraints=program.range_constraints,
        module_call_graph=program.module_call_graph,
        example_inputs=program.example_inputs,
        constants=program.constants,
        verifiers=program.verifiers,
    )


def _tensors(example_inputs: Sequence[object]) -> tuple[object, ...]:
    """numpy arrays among the examples as tensors."""
    import torch
    from torch.utils import _pytree as pytree

    def convert(leaf: object) -> object:
        if type(leaf).__module__ == "numpy" and hasattr(leaf, "dtype"):
            return torch.as_tensor(leaf)
        return leaf.cpu() if isinstance(leaf, torch.Tensor) else leaf

    # A lone tensor is a sequence too, of its rows: that is never what was meant.
    alone = isinstance(example_inputs, torch.Tensor)
    examples: tuple[object, ...] = (example_inputs,) if alone else tuple(example_inputs)
    return tuple(pytree.tree_map(convert, examples))
