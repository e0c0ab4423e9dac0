"""Input and output names that the target can bear.

onnx2tf rewrites colons in silence, and TensorFlow makes keyword arguments of names and rewrites
what does not fit (`input.1`, `495`, `/head/Concat`). So misfits are renamed here, where it can be
told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

TFLITE = re.compile(r"[^:\s\0]+")
"""TFLite itself takes any string."""

TENSORFLOW = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

_MISFIT = re.compile(r"[^A-Za-z0-9_]")
_RESERVED = frozenset({"self", "args", "kwargs"})


def fitting_names(
    names: Iterable[str], fit: re.Pattern[str], taken: Iterable[str] = ()
) -> dict[str, str]:
    """Each name to a unique one that `fit` accepts.

    Fitting names are kept unless they are in `taken`. Upper and lower case are not told apart, as
    TensorFlow does not in node names.
    """
    used = {name.lower() for name in taken}
    names = tuple(dict.fromkeys(names))
    result: dict[str, str] = {}
    for name in names:  # fitting names first: no misfit may take one of theirs
        if fit.fullmatch(name) and name not in _RESERVED and name.lower() not in used:
            result[name] = name
            used.add(name.lower())
    for name in names:
        if name not in result:
            result[name] = _unused(name, used)
            used.add(result[name].lower())
    return {name: result[name] for name in names}


def _unused(name: str, used: set[str]) -> str:
    base = _MISFIT.sub("_", name).strip("_") or "tensor"
    if not base[0].isalpha() or base in _RESERVED:
        base = f"tensor_{base}"
    candidate, number = base, 0
    while candidate.lower() in used:
        number += 1
        candidate = f"{base}_{number}"
    return candidate
