"""A ranking where no gradient can be had: one float pass against one pass in integers.

Both passes are tapped at every tensor. What a layer's result is off by, beyond what its inputs
were off by already, is its own doing. How far that reaches is not known, so every layer is taken to
reach the outputs alike: it finds the layers that break, and is blind to errors that cancel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from convkit.nodes import Node
from convkit.overlaps import agreement
from convkit.quant import LayerInfo
from convkit.sensitivity import error_power

NAME = "tap"
MOST = 1e6
"""A relative error power beyond it says no more."""


def injected(
    layers: Sequence[LayerInfo], plain: Sequence[Node], quantized: Sequence[Node]
) -> Mapping[str, float]:
    """The relative error power that each layer adds, by the name of the tensor it writes.

    Args:
        layers: of the float model, in execution order.
        plain: a trace of the float model.
        quantized: a trace, on the same sample, of the model with everything in integers; its
            tensors or layers bear the same names, the others are passed over.
    """
    by_tensor = {node.tensor: node for node in quantized if node.tensor}
    by_layer = {node.layer: node for node in quantized if node.layer}
    errors: dict[str, float] = {}
    for node in plain:
        other = by_tensor.get(node.tensor) or by_layer.get(node.layer)
        if other is not None and other.sketch.size == node.sketch.size:
            errors[node.tensor] = error_power(agreement(node.sketch, other.sketch)[1])
    found: dict[str, float] = {}
    for layer in layers:
        inherited = max((errors.get(name, 0.0) for name in layer.inputs), default=0.0)
        for name in layer.outputs:
            if name in errors:
                found[name] = max(0.0, errors[name] - inherited)
    return found


def beside(
    columns: Mapping[str, Any], errors: Mapping[str, float], rows: int = 0
) -> dict[str, Any]:
    """Columns of effects, and independent errors beside them: each has a row of its own, so that
    none cancels anything.

    Args:
        columns: float64 arrays of one length; they keep their mean squares and products.
        errors: mean squares of the further columns.
        rows: so many rows more at least, which stay empty.
    """
    import numpy as np

    known = len(next(iter(columns.values()))) if columns else 0
    count = known + max(rows, len(errors))
    scale = (count / known) ** 0.5 if known else 1.0
    found: dict[str, Any] = {}
    for name, column in columns.items():
        found[name] = np.concatenate([scale * column, np.zeros(count - known)])
    for row, (name, error) in enumerate(errors.items()):
        alone = np.zeros(count)
        alone[known + row] = (min(error, MOST) * count) ** 0.5
        found[name] = alone
    return found
