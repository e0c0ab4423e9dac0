"""Cross-layer equalization: scales move between layers, and the float function stays what it is.

Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019,
section 4.1. Where channel i between two layers is divided by s_i, and the second layer's weights
for it are multiplied by s_i, the result is the same, and s_i = sqrt(r1_i / r2_i) makes the ranges
r1_i before it and r2_i after it equal. The paper takes the range of the first layer's weights for
r1, which is right where a matrix has one scale. Where each channel of a weight has a scale of its
own, only the range of the activations is shared, and that is r1. Between a normalization and the
matrix products that read it, the latter is SmoothQuant (Xiao et al., ICML 2023, alpha = 0.5).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from convkit_onnx.chains import NORMALIZATION, Chain, attribute, chains, inputs_first

if TYPE_CHECKING:
    import onnx

_ROUNDS = 20
_SETTLED = 1e-3
_LARGEST = 1e3
"""Of a scale; a channel that is all but dead would be blown up for nothing."""
_FLOAT = 1
"""`TensorProto.FLOAT`."""


def equalize(model: onnx.ModelProto, extremes: Mapping[str, Any]) -> int:
    """Equalize a float model in place, chain by chain until the scales settle.

    Args:
        extremes: `Chain.tensor` to the largest absolute value of each channel (or of each position
            of each channel, in that order, behind a Flatten). Chains that are not in it go by the
            first layer's weights, and normalizations are left alone.

    Returns:
        How many chains were equalized.
    """
    import numpy as np
    from onnx import numpy_helper

    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    found = [
        chain
        for chain in chains(model)
        if all(stored[name].data_type == _FLOAT for name in chain.weights)
        and (chain.tensor in extremes or chain.first.op_type != NORMALIZATION)
    ]
    arrays = {
        name: numpy_helper.to_array(stored[name]).astype(np.float64)
        for chain in found
        for name in chain.weights
    }
    reach = {name: np.array(value, np.float64) for name, value in extremes.items()}
    for _ in range(_ROUNDS):
        if max((_balance(chain, arrays, reach) for chain in found), default=0.0) < _SETTLED:
            break
    for name, array in arrays.items():
        stored[name].CopyFrom(numpy_helper.from_array(array.astype(np.float32), name))
    return len(found)


def _balance(chain: Chain, arrays: dict[str, Any], reach: dict[str, Any]) -> float:
    """Equalize one chain; answers how far the scales are from 1, as a logarithm."""
    import numpy as np

    own = [name for name in chain.first.input[1:3] if name]
    weights = [arrays[n].T if inputs_first(chain.first) else arrays[n] for n in own]
    channels = len(weights[0])
    seen = reach.get(chain.tensor, weights[0])
    before = np.abs(seen).reshape(channels, -1).max(1)
    views = [_by_input(node, arrays[node.input[1]], channels) for node in chain.readers]
    after = np.max([np.abs(view).max((1, 3)).reshape(-1) for view in views], axis=0)
    alive = (before > 0) & (after > 0)
    scale = np.ones(channels)
    scale[alive] = np.sqrt(before[alive] / after[alive])
    scale = np.clip(scale, 1 / _LARGEST, _LARGEST)
    for weight in weights:
        weight /= scale.reshape(-1, *[1] * (weight.ndim - 1))
    for view in views:
        view *= scale.reshape(len(view), 1, -1, 1)
    if chain.tensor in reach:
        reach[chain.tensor] = before / scale
    return float(np.abs(np.log(scale)).max())


def _by_input(node: Any, weight: Any, channels: int) -> Any:
    """A view of a layer's weight as groups x outputs x inputs x rest, `channels` inputs in all.

    Behind a Flatten, the positions of a channel are its rest.
    """
    if inputs_first(node):
        return weight.T.reshape(1, weight.shape[1], channels, -1)
    groups = attribute(node, "group", 1)
    return weight.reshape(groups, len(weight) // groups, channels // groups, -1)
