"""Models of unknown kinship, brought into the order and axes of one of them.

A file that was made elsewhere says nothing about where it comes from. Its inputs and outputs are
held against the reference's by name, then by place, then by the only one that fits; axes may be in
another order.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

from convkit.artifact import Artifact, TensorSpec
from convkit.errors import UsageError

Dimensions = tuple[int | str | None, ...]

USUAL = ((0, 2, 3, 1), (0, 3, 1, 2), (0, 2, 1))
"""Permutations that converters really make, asked first where several would fit."""


def matched(reference: Artifact, candidate: Artifact) -> Artifact:
    """The candidate with its inputs in the reference's order and axes, and its outputs too as far
    as they can be told.

    Raises:
        UsageError: the candidate takes other inputs; names them.
    """
    inputs = _matched(reference.inputs, candidate.inputs, strict=True)
    if inputs is None:
        raise UsageError(
            f"it takes {_listed(candidate.inputs)}, the reference {_listed(reference.inputs)}",
            hint="Models are run on the same samples: compare models of equal inputs, or evaluate"
            " this one on its own with a data set prepared for it.",
        )
    outputs = _matched(reference.outputs, candidate.outputs, strict=False)
    return dataclasses.replace(candidate, inputs=inputs, outputs=outputs or candidate.outputs)


def _matched(
    ours: Sequence[TensorSpec], theirs: Sequence[TensorSpec], strict: bool
) -> tuple[TensorSpec, ...] | None:
    """Their tensors in our order with permutations; None where there is no such order.

    Args:
        strict: types must fit as well: values are going in.
    """
    if len(ours) != len(theirs):
        return None
    by_name = {spec.name: spec for spec in theirs}
    orders = [theirs]
    if all(spec.name in by_name for spec in ours):
        orders.insert(0, [by_name[spec.name] for spec in ours])
    if len(theirs) <= 6:
        orders += itertools.permutations(theirs)
    for exactly in (True, False):  # the same axes everywhere, rather than turned ones
        for order in orders:
            pairs = list(zip(ours, order, strict=True))
            if strict and not all(_type_fits(a, b) for a, b in pairs):
                continue
            turns = [_turned(a.shape, b.shape, exactly) for a, b in pairs]
            if all(turn is not None for turn in turns):
                return tuple(
                    dataclasses.replace(b, permutation=turn or ())
                    for (_, b), turn in zip(pairs, turns, strict=True)
                )
    return None


def _type_fits(ours: TensorSpec, theirs: TensorSpec) -> bool:
    """Whether values for ours can be cast for theirs without meaning something else. An integer
    input with a scale takes floats: its session quantizes them."""
    kinds = tuple("float32" if s.scale is not None else s.dtype for s in (ours, theirs))
    a, b = (_kind(k) for k in kinds)
    return a == b or (a, b) == ("integer", "float")


def _kind(dtype: str) -> str:
    if dtype == "bool":
        return "bool"
    return "integer" if dtype.startswith(("int", "uint")) else "float"


def _turned(ours: Dimensions, theirs: Dimensions, exactly: bool) -> tuple[int, ...] | None:
    """The permutation with which our shape becomes theirs, `()` for none; None if there is none."""
    if not ours or not theirs:  # nothing is known of one of them, or both are scalars
        return ()
    if len(ours) != len(theirs):
        return None
    if _same(ours, theirs):
        return ()
    if exactly:
        return None
    rest = (p for p in itertools.permutations(range(len(ours))) if p[0] == 0)
    usual = [p for p in USUAL if len(p) == len(ours)]
    for permutation in itertools.chain(usual, rest):
        if _same([ours[axis] for axis in permutation], theirs):
            return permutation
    return None


def _same(ours: Sequence[int | str | None], theirs: Dimensions) -> bool:
    """Whether two shapes agree; an open axis agrees with any size."""
    return all(
        not isinstance(a, int) or not isinstance(b, int) or a == b
        for a, b in zip(ours, theirs, strict=True)
    )


def _listed(specs: Sequence[TensorSpec]) -> str:
    def shown(spec: TensorSpec) -> str:
        shape = ", ".join("any" if d is None else str(d) for d in spec.shape)
        return f"{spec.name} ({shape}) {spec.dtype}"

    return "; ".join(map(shown, specs)) or "no input"
