"""Axes that the user wants to stay open (`--dynamic images=0,2,3`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from convkit.errors import UsageError

if TYPE_CHECKING:
    import torch

Axes = Mapping[str, tuple[int, ...]]
"""Input name to axes; a negative one counts from the end."""


def opened(
    module: torch.nn.Module, examples: tuple[Any, ...], dynamic: Axes
) -> tuple[tuple[Any, ...], tuple[Any, ...] | None]:
    """Examples to trace with, and `dynamic_shapes` for torch.export; None where nothing is open.

    Raises:
        UsageError: no tensor parameter of that name, or no such axis.
    """
    import torch
    from torch.utils import _pytree as pytree

    if not dynamic:
        return examples, None
    names = parameter_names(module, len(examples))
    tensors = [n for n, e in zip(names, examples, strict=True) if isinstance(e, torch.Tensor)]
    for name in dynamic:
        if name not in tensors:
            raise UsageError(
                f"the model has no tensor input {name!r} whose axes could stay open",
                hint=f"Its tensor inputs: {', '.join(tensors) or 'none'}.",
            )
    args, shapes = [], []
    for name, example in zip(names, examples, strict=True):
        if name in dynamic:
            axes = checked(name, dynamic[name], example.dim())
            args.append(widened(example, axes))
            shapes.append(dict.fromkeys(axes, torch.export.Dim.DYNAMIC))
        else:
            args.append(example)
            shapes.append(pytree.tree_map(lambda leaf: None, example))
    return tuple(args), tuple(shapes)


def parameter_names(module: torch.nn.Module, count: int) -> list[str]:
    """Names of the first parameters of `forward`, as torch.export gives them to inputs."""
    import inspect

    parameters = list(inspect.signature(module.forward).parameters.values())
    plain = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "args")
    return (plain + [f"{rest}_{i}" for i in range(count - len(plain))])[:count]


def checked(name: str, axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """The axes counted from the start.

    Raises:
        UsageError: the input has no such axis.
    """
    for axis in axes:
        if not -rank <= axis < rank:
            raise UsageError(
                f"input {name} has no axis {axis}", hint=f"It has {rank} axes, 0 to {rank - 1}."
            )
    return tuple(sorted({axis % rank for axis in axes}))


def widened(example: torch.Tensor, axes: Sequence[int]) -> torch.Tensor:
    """The example with no open axis of size 1, which a tracer would take for a constant."""
    for axis in axes:
        if example.shape[axis] == 1:
            example = example.repeat_interleave(2, axis)
    return example


def conflict(exc: BaseException) -> str:
    """What torch.export found about the axes, without its advice."""
    lines = [line.strip("- ").strip() for line in str(exc).splitlines()]
    return next((line for line in lines if "Dim.DYNAMIC" in line), lines[0])[:400]
