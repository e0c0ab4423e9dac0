"""Record a flat module as TorchScript, and prove that its open axes stayed open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from convkit.errors import ConversionError
from convkit_torch.script_file import Description

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


def description(program: ExportedProgram) -> Description:
    """What a recording of the program takes and gives."""
    from convkit_torch.signature import example_tensors, program_specs

    inputs, outputs = program_specs(program)
    sizes = tuple(tuple(tensor.shape) for tensor in example_tensors(program))
    return Description(inputs, outputs, sizes)


def record(module: torch.fx.GraphModule, program: ExportedProgram) -> Any:
    """`torch.jit.trace` of what `flat.flatten` made of the program; the module is used up.

    Raises:
        ConversionError: it cannot be recorded, or the recording fixed the size of an open axis.
    """
    import torch

    from convkit_torch import reading
    from convkit_torch.signature import example_tensors, is_dynamic, program_specs
    from convkit_torch.traceable import tracer_target

    for node in module.graph.nodes:
        if node.op == "call_function":
            node.target = tracer_target(node)
    module.recompile()
    trace: Any = torch.jit.trace
    try:
        with torch.no_grad():
            recorded = trace(module, example_tensors(program), check_trace=False)
    except Exception as exc:  # the tracer raises any type
        raise ConversionError(
            f"torch.jit.trace cannot record it: {reading.first_line(exc)}"
        ) from exc
    if is_dynamic(program_specs(program)[0]):
        _prove_open(module, recorded, other_sizes(program))
    return recorded


def other_sizes(program: ExportedProgram) -> tuple[torch.Tensor, ...]:
    """Inputs of other sizes than the examples' on every open axis, as far as its range goes."""
    import torch

    from convkit_torch.signature import example_tensors, input_slots

    values: dict[Any, int] = {}
    slots = input_slots(program)
    for slot, tensor in zip(slots, example_tensors(program), strict=True):
        for dimension, size in zip(slot.value.shape, tensor.shape, strict=True):
            expression = None if isinstance(dimension, int) else dimension.node.expr
            if expression is not None and expression.is_Symbol:
                bounds = program.range_constraints.get(expression)
                wider = bounds is None or size + 1 <= bounds.upper
                values[expression] = size + 1 if wider else size - 1
    return tuple(
        torch.zeros([_size(d, values) for d in slot.value.shape], dtype=slot.value.dtype)
        for slot in slots
    )


def _size(dimension: Any, values: dict[Any, int]) -> int:
    return dimension if isinstance(dimension, int) else int(dimension.node.expr.subs(values))


def _prove_open(module: Any, recorded: Any, inputs: Sequence[torch.Tensor]) -> None:
    """Raises:
    ConversionError: the recording fails on sizes that the module takes, or answers otherwise.
    """
    import torch

    with torch.no_grad():
        try:
            wanted = module(*inputs)
        except Exception:  # the program has conditions on its sizes that its ranges do not tell
            return
        try:
            found = recorded(*inputs)
            same = all(
                a.shape == b.shape and torch.equal(a, b) for a, b in zip(wanted, found, strict=True)
            )
        except Exception:  # a size that was written down where it should have been computed
            same = False
    if not same:
        raise ConversionError(
            "recording the model fixed the size of an open axis",
            hint="Give the size, as in --shape x=1x128, and the shapes are fixed beforehand.",
        )
