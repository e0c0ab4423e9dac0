"""Axes that a hop put in another order: chained over hops, and undone wherever a model is run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from convkit.artifact import Artifact, TensorSpec
from convkit.errors import ConversionError


def plain(artifact: Artifact) -> Artifact:
    """The artifact as its next converter sees it: a converter speaks of its own input only."""
    return dataclasses.replace(
        artifact,
        inputs=tuple(dataclasses.replace(s, permutation=()) for s in artifact.inputs),
        outputs=tuple(dataclasses.replace(s, permutation=()) for s in artifact.outputs),
    )


def chain(
    before: Sequence[TensorSpec], after: Sequence[TensorSpec], what: str
) -> tuple[TensorSpec, ...]:
    """Turn permutations stated against a hop's input into ones against the original.

    Args:
        what: `inputs` or `outputs`, for the error.

    Raises:
        ConversionError: the hop lost or added a tensor, or states an impossible permutation.
    """
    if len(before) != len(after):
        raise ConversionError(f"the result has {len(after)} {what}, its source {len(before)}")
    return tuple(
        dataclasses.replace(new, permutation=_compose(old.permutation, new))
        for old, new in zip(before, after, strict=True)
    )


def _compose(first: tuple[int, ...], spec: TensorSpec) -> tuple[int, ...]:
    second = spec.permutation
    if second and sorted(second) != list(range(len(spec.shape))):
        raise ConversionError(f"{spec.name}: {second} is no permutation of its axes")
    whole = tuple(first[axis] for axis in second) if first and second else first or second
    return () if whole == tuple(range(len(whole))) else whole


def to_artifact(value: Any, spec: TensorSpec) -> Any:
    """An array in the original's axes, in those of the artifact."""
    return value.transpose(spec.permutation) if spec.permutation else value


def to_original(value: Any, spec: TensorSpec) -> Any:
    """An array in the artifact's axes, in those of the original."""
    if not spec.permutation:
        return value
    back = sorted(range(len(spec.permutation)), key=spec.permutation.__getitem__)
    return value.transpose(back)


def permuted(specs: Iterable[TensorSpec]) -> bool:
    """Whether any tensor has its axes in another order than the original."""
    return any(spec.permutation for spec in specs)


def permute_samples(source: Path, specs: Sequence[TensorSpec], target: Path) -> None:
    """Copy a safetensors file of samples with every input in the artifact's own axes."""
    import numpy as np
    from safetensors.numpy import load_file, save_file

    arrays = {
        key: np.ascontiguousarray(to_artifact(value, specs[int(key.partition("/")[2])]))
        for key, value in load_file(source).items()
    }
    save_file(arrays, target)
