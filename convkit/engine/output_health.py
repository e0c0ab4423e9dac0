"""What is wrong with a file of outputs: NaN, infinity, and results that never change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convkit.engine.sample_files import samples_in


@dataclass(frozen=True)
class Output:
    """One output over all samples.

    Attributes:
        broken: how many samples hold NaN or infinity.
        constant: every sample gave the same, bit by bit, though there were several.
        value: the only value there is in all samples, None where there are several.
    """

    name: str
    broken: int
    constant: bool
    value: float | None


def look(outputs: Path, names: Sequence[str]) -> tuple[Output, ...]:
    """Look through a file of outputs, one sample at a time.

    Args:
        names: of the outputs; numbers stand in for those that are missing.
    """
    import numpy as np

    broken: dict[int, int] = {}
    first: dict[int, Any] = {}
    count: dict[int, int] = {}
    same: dict[int, bool] = {}
    value: dict[int, float | None] = {}
    for sample in samples_in(outputs):
        for index, array in enumerate(sample):
            if not np.isfinite(array).all():
                broken[index] = broken.get(index, 0) + 1
            uniform = array.size and (array == array.flat[0]).all()
            only = float(array.flat[0]) + 0.0 if uniform else None  # never -0
            if index not in first:
                first[index], count[index], same[index], value[index] = array, 1, True, only
                continue
            count[index] += 1
            same[index] = same[index] and np.array_equal(array, first[index], equal_nan=True)
            value[index] = only if only == value[index] else None
    return tuple(
        Output(
            name=names[index] if index < len(names) else str(index),
            broken=broken.get(index, 0),
            constant=same[index] and count[index] > 1,
            value=value[index],
        )
        for index in sorted(first)
    )
