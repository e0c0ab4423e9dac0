"""Traced tensors as nodes of a graph, and by what two of them are told to be kin."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from convkit.quant import LayerInfo
from convkit.sketches import Sketch


@dataclass(frozen=True)
class Node:
    """One traced tensor.

    Attributes:
        parents: places of the traced tensors that it is computed from; all are before it.
    """

    layer: str
    op_type: str
    scope: str
    tensor: str
    parents: tuple[int, ...]
    sketch: Sketch


def parents_of(
    tensors: Sequence[str], layers: Sequence[LayerInfo], inputs: int = 0
) -> tuple[tuple[int, ...], ...]:
    """For each traced tensor the traced tensors that it is computed from, through any number of
    tensors that were not traced. One of a layer that nobody knows follows the one before it.

    Args:
        tensors: names, in execution order; the first ones are those of the model's inputs.
        inputs: how many those are.
    """
    places: dict[str, int] = {name: i for i, name in enumerate(tensors) if name}
    reached = {name: frozenset((i,)) for name, i in places.items() if i < inputs}
    found: dict[int, frozenset[int]] = {i: frozenset() for i in range(inputs)}
    for layer in layers:
        operands = [reached.get(name, frozenset()) for name in layer.inputs]
        sources: frozenset[int] = frozenset().union(*operands)
        for name in layer.outputs:
            place = places.get(name)
            if place is not None:
                found[place] = sources
            reached[name] = sources if place is None else frozenset((place,))
    return tuple(
        tuple(sorted(p for p in found.get(i, frozenset((i - 1,))) if 0 <= p < i))
        for i in range(len(tensors))
    )


def kinship(one: Node, other: Node) -> tuple[bool, bool, bool]:
    """Whether two tensors bear the same name, lie in the same module, come of the same kind of
    operator."""
    kind = operator_kind(one.op_type)
    return (
        _same_name(one, other),
        bool(one.scope) and one.scope == other.scope,
        bool(kind) and kind == operator_kind(other.op_type),
    )


def _same_name(one: Node, other: Node) -> bool:
    """Equal but for what stands before the last slashes. A fused operator lists the names of what
    it computes, what hands the result out first (`act/Relu;conv/Conv2D`)."""
    name = other.tensor.partition(";")[0]
    known = [n for n in (one.tensor, one.layer) if n and name]
    return any(
        n == name or n.endswith("/" + name) or ("/" in n and name.endswith("/" + n)) for n in known
    )


_NOISE = re.compile(r"^(aten|prim|nn|torch|ops|tf|default|tensor|scalar|int|functional)$")
_KINDS: Mapping[str, str] = {
    "convtranspose": "deconv",
    "transposeconv": "deconv",
    "conv": "conv",
    "fullyconnected": "matmul",
    "gemm": "matmul",
    "linear": "matmul",
    "matmul": "matmul",
    "addmm": "matmul",
    "bmm": "matmul",
    "logsoftmax": "logsoftmax",
    "softmax": "softmax",
    "logistic": "sigmoid",
    "sigmoid": "sigmoid",
    "gelu": "gelu",
    "relu": "relu",
    "maxpool": "maxpool",
    "averagepool": "avgpool",
    "avgpool": "avgpool",
    "concat": "concat",
    "batchnorm": "batchnorm",
    "layernorm": "layernorm",
    "upsample": "resize",
    "interpolate": "resize",
    "resize": "resize",
    "reducemean": "mean",
    "mean": "mean",
    "transpose": "transpose",
    "permute": "transpose",
    "gather": "gather",
    "embedding": "gather",
    "reshape": "reshape",
    "view": "reshape",
}
"""What operators are called in the field, by a part of the name; the first that fits wins."""


def operator_kind(op_type: str) -> str:
    """A common word for `Conv`, `CONV_2D`, `aten.conv2d` and `Convolution`."""
    words = [w for w in re.split(r"[^a-z0-9]+", op_type.lower()) if w and not _NOISE.match(w)]
    name = re.sub(r"[0-9]d?", "", "".join(words))
    special = {
        "cat": "concat",
        "mm": "matmul",
        "multiply": "mul",
        "subtract": "sub",
        "biasadd": "add",
    }
    if name in special:
        return special[name]
    return next((kind for part, kind in _KINDS.items() if part in name), name)
