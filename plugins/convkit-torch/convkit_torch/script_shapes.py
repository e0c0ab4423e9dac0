"""Shapes of a TorchScript module's outputs, which it does not declare: found by running it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convkit.errors import InputError, UsageError
from convkit.plugin import LayerInfo, ReadOptions, TensorSpec

if TYPE_CHECKING:
    import torch


def outputs(
    module: Any, inputs: Sequence[TensorSpec], path: Path, read: ReadOptions
) -> tuple[TensorSpec, ...]:
    """Specs of the outputs. Where inputs have open axes the module runs once more with those
    doubled, and an axis of an output that changed is open.

    Raises:
        UsageError: the module does not run on these shapes.
    """
    from convkit_torch import reading
    from convkit_torch.signature import dtype_name

    examples = reading.example_tensors([spec.name for spec in inputs], read)
    first = _run(module, examples, path, "Check --shape and --dtype.")
    shapes: list[tuple[int | str | None, ...]] = [tuple(tensor.shape) for tensor in first]
    names = reading.script_outputs(len(first))
    if any(not isinstance(d, int) for spec in inputs for d in spec.shape):
        doubled = [_doubled(t, spec) for t, spec in zip(examples, inputs, strict=True)]
        second = _run(module, doubled, path, "It does not take every size on those of --dynamic.")
        for place, (name, a, b) in enumerate(zip(names, first, second, strict=True)):
            shapes[place] = tuple(
                d if d == e else f"{name}_{axis}"
                for axis, (d, e) in enumerate(zip(a.shape, b.shape, strict=True))
            )
    return tuple(
        TensorSpec(name, shape, dtype_name(tensor.dtype))
        for name, shape, tensor in zip(names, shapes, first, strict=True)
    )


def layers(
    module: Any, inputs: Sequence[TensorSpec], examples: Sequence[torch.Tensor], path: Path
) -> tuple[tuple[LayerInfo, ...], tuple[torch.Tensor, ...]]:
    """The operators that the module calls, and what it returns.

    Raises:
        UsageError: the module does not run on these shapes.
    """
    from convkit_torch import reading, script_layers

    names = [spec.name for spec in inputs]
    try:
        found, results = script_layers.run(module, examples, names)
    except Exception as exc:  # TorchScript reports everything as RuntimeError, or worse
        try:
            found, results = script_layers.run(module, _attended(examples), names)
        except Exception:
            raise _refusal(path, examples, exc, "Check --shape and --dtype.") from exc
    return found, reading.flat_tensors(results)


def _attended(examples: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """Ones for integers and booleans: a mask of zeros leaves nothing to attend to, and integer
    kernels refuse the NaN that comes of it."""
    return tuple(t if t.is_floating_point() else t.new_ones(t.shape) for t in examples)


def agree(described: Sequence[TensorSpec], found: Sequence[torch.Tensor], path: Path) -> None:
    """Check what a file says about its outputs against the outputs themselves.

    Raises:
        InputError: they differ.
    """
    from convkit_torch.signature import dtype_name

    fits = len(described) == len(found) and all(
        dtype_name(tensor.dtype) == spec.dtype
        and len(tensor.shape) == len(spec.shape)
        and all(d == s for d, s in zip(tensor.shape, spec.shape, strict=True) if isinstance(s, int))
        for tensor, spec in zip(found, described, strict=True)
    )
    if not fits:
        raise InputError(
            f"{path.name} does not return what it says that it returns",
            hint="The file was changed after it was written; convert the model again.",
        )


def _run(
    module: Any, examples: Sequence[torch.Tensor], path: Path, hint: str
) -> tuple[torch.Tensor, ...]:
    import torch

    from convkit_torch import reading

    try:
        with torch.no_grad():
            return reading.flat_tensors(module(*examples))
    except Exception as exc:  # TorchScript reports everything as RuntimeError, or worse
        raise _refusal(path, examples, exc, hint) from exc


def _refusal(path: Path, examples: Sequence[torch.Tensor], exc: Exception, hint: str) -> UsageError:
    from convkit_torch import reading

    sizes = ", ".join("x".join(map(str, t.shape)) for t in examples)
    return UsageError(
        f"{path.name} cannot run on inputs of {sizes}: {reading.first_line(exc)}", hint=hint
    )


def _doubled(example: torch.Tensor, spec: TensorSpec) -> torch.Tensor:
    for axis, size in enumerate(spec.shape):
        if not isinstance(size, int):
            example = example.repeat_interleave(2, axis)
    return example
