"""An exported program called, and exported again, by its tensors alone.

What else its arguments hold (constants, dictionaries) is as it was when it was exported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def call(module: Any, program: ExportedProgram, given: Sequence[Any]) -> Any:
    """Call a module that has the program's signature.

    Args:
        given: its tensor inputs, in the program's order.
    """
    import torch
    from torch.utils import _pytree as pytree

    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    tensors = iter(given)
    flat = []
    for spec in program.graph_signature.input_specs:
        if spec.kind.name != "USER_INPUT":
            continue
        is_tensor = isinstance(values.get(spec.arg.name), torch.Tensor)
        flat.append(next(tensors) if is_tensor else getattr(spec.arg, "value", None))
    args, kwargs = pytree.tree_unflatten(flat, program.call_spec.in_spec)
    return module(*args, **kwargs)


def export(module: Any, program: ExportedProgram) -> ExportedProgram:
    """Export a module that has the program's signature, with the program's open axes. The result
    takes the tensors alone and returns a flat tuple."""
    import torch
    from torch.utils import _pytree as pytree

    from convkit_executorch.lowering import user_tensors

    class Flat(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, *tensors: Any) -> Any:
            leaves = pytree.tree_leaves(call(self.inner, program, tensors))
            return tuple(leaf for leaf in leaves if isinstance(leaf, torch.Tensor))

    fakes = list(user_tensors(program))
    shapes = tuple({i: _axis(d, program) for i, d in enumerate(f.shape)} for f in fakes)
    is_open = any(not isinstance(d, int) for f in fakes for d in f.shape)
    return torch.export.export(
        Flat(),
        tuple(_examples(program, fakes)),
        dynamic_shapes=(shapes,) if is_open else None,
        strict=False,
    )


def _axis(dimension: Any, program: ExportedProgram) -> Any:
    import torch
    from torch.utils._sympy.numbers import int_oo

    if isinstance(dimension, int):
        return None
    stated = program.range_constraints.get(dimension.node.expr)
    if stated is None:  # computed from other axes
        return torch.export.Dim.AUTO
    low = int(stated.lower)
    limit = None if stated.upper is int_oo else int(stated.upper)
    return torch.export.Dim(str(dimension), min=low, max=limit)


def _examples(program: ExportedProgram, fakes: Sequence[Any]) -> Sequence[Any]:
    """The program's own; zeros where one of them has a single element on an open axis, which
    torch.export would take for fixed."""
    import torch

    from convkit_executorch.lowering import example_tensors, size_of

    found = example_tensors(program)
    narrow = any(
        not isinstance(d, int) and have < 2
        for fake, example in zip(fakes, found, strict=True)
        for d, have in zip(fake.shape, example.shape, strict=True)
    )
    if not narrow:
        return found
    return [
        torch.zeros([size_of(program, d) for d in fake.shape], dtype=fake.dtype) for fake in fakes
    ]
