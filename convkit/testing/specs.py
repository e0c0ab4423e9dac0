"""Whether tensor specs and traits are well formed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from convkit.artifact import TensorSpec

BEYOND_NUMPY = ("bfloat16", "float8_e4m3fn", "float8_e5m2", "int4", "uint4")


def spec_faults(specs: Iterable[TensorSpec]) -> list[str]:
    """What is wrong with the specs of a model's inputs or outputs; empty where nothing is."""
    import numpy as np

    faults = []
    names: set[str] = set()
    for spec in specs:
        if not spec.name or spec.name in names:
            faults.append(f"the name {spec.name!r} is empty or not unique")
        names.add(spec.name)
        try:
            known = spec.dtype in BEYOND_NUMPY or np.dtype(spec.dtype).name == spec.dtype
        except TypeError:
            known = False
        if not known:
            faults.append(f"{spec.name}: {spec.dtype!r} is no dtype by numpy's name")
        for size in spec.shape:
            if isinstance(size, bool) or not isinstance(size, int | str | None):
                faults.append(f"{spec.name}: {size!r} in a shape")
            elif isinstance(size, int) and size < 0:
                faults.append(f"{spec.name}: {size} in a shape; an unknown size is None")
    return faults


def trait_faults(traits: Mapping[str, Any]) -> list[str]:
    """Traits that are neither bool, int nor str."""
    return [
        f"{name}={value!r}"
        for name, value in traits.items()
        if not isinstance(value, bool | int | str)
    ]
