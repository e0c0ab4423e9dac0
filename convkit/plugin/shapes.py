"""Fixed shapes for inputs whose axes are open, for the preparations that fix them.

Standard library only: workers in isolated environments import this too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from convkit.artifact import TensorSpec
from convkit.errors import ConversionError


def fixed_shapes(
    inputs: Sequence[TensorSpec],
    stated: Mapping[str, tuple[int, ...]],
    batch: int,
    *,
    unranked: Collection[str] = (),
) -> dict[str, tuple[int, ...]]:
    """The fixed shape of every input: as stated, else with the same size wherever the same symbol
    stands, and with `batch` on a first axis of which nothing is known.

    Args:
        stated: shapes that the user gave, by the names of inputs.
        unranked: names of inputs whose number of axes the file leaves open.

    Raises:
        ConversionError: a size is missing, or contradicts the file or another size.
    """
    symbols: dict[str, int] = {}
    ranked = [spec for spec in inputs if spec.name not in unranked]
    for spec in ranked:
        if spec.name in stated:
            _learn(spec, stated[spec.name], symbols)
    for spec in ranked:
        if spec.shape and isinstance(spec.shape[0], str):
            symbols.setdefault(spec.shape[0], batch)
    shapes = {}
    for spec in inputs:
        if spec.name in stated:
            shapes[spec.name] = tuple(stated[spec.name])
        elif spec.name in unranked:
            raise _missing(spec.name, "a shape of unknown rank", "AxBxC")
        else:
            shapes[spec.name] = _sizes(spec, symbols, batch)
    return shapes


def _learn(spec: TensorSpec, given: Sequence[int], symbols: dict[str, int]) -> None:
    """Take over the sizes of symbols from a stated shape, which must fit."""
    fits = len(given) == len(spec.shape)
    for have, want in zip(spec.shape, given, strict=False):
        known = symbols.setdefault(have, want) if isinstance(have, str) else have
        fits = fits and known in (None, want)
    if not fits:
        wanted = "x".join(map(str, given))
        there = "x".join("?" if size is None else str(size) for size in spec.shape)
        raise ConversionError(
            f"the input {spec.name} cannot be {wanted}: the model says {there}",
            hint="One symbol has one size wherever it stands.",
        )


def _sizes(spec: TensorSpec, symbols: Mapping[str, int], batch: int) -> tuple[int, ...]:
    sizes: list[int] = []
    for axis, have in enumerate(spec.shape):
        known = symbols.get(have) if isinstance(have, str) else have
        size = batch if have is None and axis == 0 else known
        if size is None:
            example = "x".join(str(d) if isinstance(d, int) else "N" for d in spec.shape)
            raise _missing(spec.name, f"no fixed size on axis {axis} ({have or '?'})", example)
        sizes.append(size)
    return tuple(sizes)


def _missing(name: str, what: str, example: str) -> ConversionError:
    return ConversionError(
        f"the input {name} has {what}", hint=f"State it, as in --shape {name}={example}."
    )
