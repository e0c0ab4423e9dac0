"""Inputs and outputs of an exported program, as convkit's tensor specs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from convkit.errors import InputError
from convkit.plugin import TensorSpec

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


def dtype_name(dtype: torch.dtype) -> str:
    """numpy's name for a torch dtype (`bfloat16` has none and keeps torch's)."""
    return str(dtype).removeprefix("torch.")


def shape_of(value: Any) -> tuple[int | str | None, ...]:
    """A fake tensor's shape; symbolic dimensions become their expression, such as `s77`."""
    return tuple(d if isinstance(d, int) else str(d).replace(" ", "") for d in value.shape)


@dataclass(frozen=True)
class Slot:
    """A tensor among the program's flat inputs or outputs.

    Attributes:
        index: position in the flat list, which may also hold constants.
        node: name of the graph node.
        value: the fake tensor.
    """

    index: int
    node: str
    value: Any


def input_slots(program: ExportedProgram) -> tuple[Slot, ...]:
    """Tensor inputs in the program's order."""
    nodes = {n.name: n for n in program.graph.nodes if n.op == "placeholder"}
    specs = [s for s in program.graph_signature.input_specs if s.kind.name == "USER_INPUT"]
    return tuple(_tensors(specs, nodes))


def output_slots(program: ExportedProgram) -> tuple[Slot, ...]:
    """Tensor outputs in the program's order."""
    nodes = {n.name: n for n in program.graph.nodes}
    specs = [s for s in program.graph_signature.output_specs if s.kind.name == "USER_OUTPUT"]
    return tuple(_tensors(specs, nodes))


def _tensors(specs: Sequence[Any], nodes: dict[str, Any]) -> Iterator[Slot]:
    import torch

    for index, spec in enumerate(specs):
        value = nodes[spec.arg.name].meta.get("val") if spec.arg.name in nodes else None
        if isinstance(value, torch.Tensor):
            yield Slot(index, spec.arg.name, value)
        elif isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool):
            raise InputError(
                f"the program takes or returns the number {spec.arg.name!r}, not only tensors",
                hint="Export a wrapper module whose inputs and outputs are tensors.",
            )


def program_specs(
    program: ExportedProgram,
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Specs of inputs and outputs.

    Input names are the program's. Output names are the keys where the program returns a flat
    dictionary, else the names of the graph's nodes, else (not unique, or an input that is handed
    through) `output_<index>`.
    """
    images = any(str(node.target).startswith("aten.conv2d") for node in program.graph.nodes)
    inputs = tuple(
        TensorSpec(
            slot.node,
            shape_of(slot.value),
            dtype_name(slot.value.dtype),
            # Convolutions of torch read images as NCHW; elsewhere four axes may mean anything.
            "NCHW" if images and slot.value.dim() == 4 and slot.value.is_floating_point() else "",
        )
        for slot in input_slots(program)
    )
    slots = output_slots(program)
    names = _output_names(program, slots, {spec.name for spec in inputs})
    outputs = tuple(
        TensorSpec(name, shape_of(slot.value), dtype_name(slot.value.dtype))
        for name, slot in zip(names, slots, strict=True)
    )
    return inputs, outputs


def _output_names(
    program: ExportedProgram, slots: Sequence[Slot], taken: set[str]
) -> tuple[str, ...]:
    keys = _dictionary_keys(program)
    names = [keys[s.index] if keys else s.node for s in slots]
    return tuple(
        f"output_{i}" if names.count(name) > 1 or name in taken else name
        for i, name in enumerate(names)
    )


def _dictionary_keys(program: ExportedProgram) -> tuple[str, ...]:
    spec = program.call_spec.out_spec
    if spec is None or spec.type is not dict or any(c.num_leaves != 1 for c in spec.children()):
        return ()
    keys = tuple(spec.context)
    return keys if all(isinstance(k, str) and k.isidentifier() for k in keys) else ()


def is_dynamic(specs: Sequence[TensorSpec]) -> bool:
    """Whether any dimension is symbolic or unknown."""
    return any(not isinstance(d, int) for spec in specs for d in spec.shape)


def binder(
    program: ExportedProgram,
) -> Callable[[Sequence[torch.Tensor]], tuple[tuple[Any, ...], dict[str, Any]]]:
    """Positional and keyword arguments of the original `forward`, from its tensor inputs in order.

    Inputs that were constants at export keep their values. What depends on the program alone is
    done once: looking through its signature took a tenth of a small detector's inference.
    """
    from torch.utils import _pytree as pytree

    specs = [s for s in program.graph_signature.input_specs if s.kind.name == "USER_INPUT"]
    constants: list[Any] = [getattr(s.arg, "value", None) for s in specs]
    places = [slot.index for slot in input_slots(program)]
    form = program.call_spec.in_spec

    def bind(tensors: Sequence[torch.Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        flat = list(constants)
        for place, tensor in zip(places, tensors, strict=True):
            flat[place] = tensor
        args, kwargs = pytree.tree_unflatten(flat, form)
        return tuple(args), dict(kwargs)

    return bind


def call_arguments(
    program: ExportedProgram, tensors: Sequence[torch.Tensor]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of one call; see `binder`."""
    return binder(program)(tensors)


def example_tensors(program: ExportedProgram) -> tuple[torch.Tensor, ...]:
    """One tensor per input: the program's own examples where it carries them, else zeros of a size
    that its range constraints allow."""
    import torch
    from torch.utils import _pytree as pytree

    slots = input_slots(program)
    if program.example_inputs is not None:
        flat = pytree.tree_leaves(program.example_inputs)
        tensors = tuple(t for t in flat if isinstance(t, torch.Tensor))
        if len(tensors) == len(slots):
            return tensors
    return tuple(
        torch.zeros([_size(program, d) for d in slot.value.shape], dtype=slot.value.dtype)
        for slot in slots
    )


def _size(program: ExportedProgram, dimension: Any) -> int:
    if isinstance(dimension, int):
        return dimension
    bounds = program.range_constraints.get(dimension.node.expr)
    # 0 and 1 are special-cased by tracers; 2 stands for "many".
    low, high = (int(bounds.lower), bounds.upper) if bounds is not None else (2, 2)
    return int(min(max(low, 2), high))
