"""Names of open axes, which OpenVINO itself does not keep.

They say which axes are of one size (`batch` of every input), so they are written into the file's
runtime information, which other readers pass over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from convkit.plugin import Artifact, TensorSpec

if TYPE_CHECKING:
    import openvino

_PLACE = ["convkit", "axes"]


def write(model: openvino.Model, artifact: Artifact) -> None:
    """Note the symbols of the artifact's inputs and outputs; nothing where it has none."""
    found = {
        f"{kind} {spec.name}": [size if isinstance(size, str) else None for size in spec.shape]
        for kind, specs in (("input", artifact.inputs), ("output", artifact.outputs))
        for spec in specs
        if any(isinstance(size, str) for size in spec.shape)
    }
    if found:
        model.set_rt_info(json.dumps(found, sort_keys=True), _PLACE)


def read(model: openvino.Model) -> Mapping[str, Any]:
    """What `write` noted; nothing where the file does not have it, or something else there."""
    if not model.has_rt_info(_PLACE):
        return {}
    try:
        found = json.loads(str(model.get_rt_info(_PLACE).value))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def named(spec: TensorSpec, symbols: Any) -> TensorSpec:
    """The spec with symbols for the axes that are open, where they fit."""
    if not isinstance(symbols, list) or len(symbols) != len(spec.shape):
        return spec
    shape = tuple(
        symbol if size is None and isinstance(symbol, str) and symbol else size
        for size, symbol in zip(spec.shape, symbols, strict=True)
    )
    return replace(spec, shape=shape)
