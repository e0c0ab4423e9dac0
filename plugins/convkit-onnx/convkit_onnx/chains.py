"""Layers that follow each other with nothing between them but what scales along."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

_HOMOGENEOUS = frozenset(
    {
        "AveragePool",
        "Flatten",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "Identity",
        "LeakyRelu",
        "MaxPool",
        "PRelu",
        "Relu",
    }
)
"""f(s x) = s f(x) for every s > 0, channel by channel."""

NORMALIZATION = "LayerNormalization"


@dataclass(frozen=True)
class Chain:
    """What makes channels, and who reads them; channel i of `first` is all that the readers'
    weights for channel i meet.

    Attributes:
        first: a Conv or Gemm, or a LayerNormalization, whose scale and offset are its weights.
        readers: a Conv or Gemm; behind a normalization, every MatMul and Gemm that reads it.
        tensor: what they read.
        axis: of the channels in it.
    """

    first: Any
    readers: tuple[Any, ...]
    tensor: str
    axis: int

    @property
    def weights(self) -> tuple[str, ...]:
        """Names of the constants that change when scales move, those of `first` first."""
        own = tuple(name for name in self.first.input[1:3] if name)
        return (*own, *(node.input[1] for node in self.readers))


def chains(model: onnx.ModelProto) -> Iterator[Chain]:
    """All chains in the order of the graph; weights are constants that nobody else uses.

    A Gemm counts without a scale or a transposed input, as Linear layers are exported.
    """
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    outputs = {value.name for value in model.graph.output} | _captured(model)
    uses = Counter(name for node in model.graph.node for name in node.input)
    weights = {t.name: t for t in model.graph.initializer if uses[t.name] == 1}
    weights = {name: tensor for name, tensor in weights.items() if name not in outputs}
    for first in model.graph.node:
        if first.op_type == NORMALIZATION:
            yield from _normalized(first, readers, outputs, weights)
            continue
        if not _is_layer(first, weights):
            continue
        tensor = first.output[0]
        while tensor not in outputs and len(readers.get(tensor, ())) == 1:
            (node,) = readers[tensor]
            if _is_layer(node, weights) and node.input[0] == tensor:
                yield Chain(first, (node,), tensor, axis=1)
                break
            if node.op_type not in _HOMOGENEOUS or node.input[0] != tensor or not _splits(node):
                break
            tensor = node.output[0]


def _captured(model: onnx.ModelProto) -> set[str]:
    """Tensors that bodies of loops and branches read from around them."""
    from convkit_onnx.reading import graphs

    _, *inner = graphs(model.graph)
    return {name for graph in inner for node in graph.node for name in node.input}


def attribute(node: Any, name: str, default: Any) -> Any:
    """The value of a node's attribute."""
    import onnx

    found = next((a for a in node.attribute if a.name == name), None)
    return default if found is None else onnx.helper.get_attribute_value(found)


def inputs_first(node: Any) -> bool:
    """Whether a layer's weight is inputs x outputs, and not outputs x inputs."""
    turned = bool(attribute(node, "transB", 0))
    return bool(node.op_type == "MatMul" or (node.op_type == "Gemm" and not turned))


def _normalized(
    first: Any, readers: dict[str, list[Any]], outputs: set[str], weights: dict[str, Any]
) -> Iterator[Chain]:
    """The chain of a normalization over the last axis, if all that read it are layers."""
    tensor = first.output[0]
    own = [name for name in first.input[1:3] if name]
    if attribute(first, "axis", -1) != -1 or tensor in outputs or not set(own) <= weights.keys():
        return
    if any(name in readers or name in outputs for name in first.output[1:] if name):
        return
    (channels,) = weights[own[0]].dims
    found = [
        _product(node, tensor, channels, readers, outputs, weights)
        for node in readers.get(tensor, ())
    ]
    layers = tuple(node for node in found if node is not None)
    if layers and len(layers) == len(found):
        yield Chain(first, layers, tensor, axis=-1)


def _product(
    node: Any,
    tensor: str,
    channels: int,
    readers: dict[str, list[Any]],
    outputs: set[str],
    weights: dict[str, Any],
) -> Any:
    """The matrix product that contracts the last axis of a tensor; None where there is none.

    A Reshape before it, which exporters put before Gemm, leaves an axis in its place where it is
    the last one, of the same size, before and after.
    """
    if node.op_type == "Reshape" and node.input[0] == tensor and node.output[0] not in outputs:
        tensor, following = node.output[0], readers.get(node.output[0], [])
        if len(following) != 1:
            return None
        (node,) = following
    if node.input[0] != tensor or node.op_type not in ("MatMul", "Gemm"):
        return None
    if not (node.input[1] in weights if node.op_type == "MatMul" else _is_layer(node, weights)):
        return None
    dims = weights[node.input[1]].dims
    return node if len(dims) == 2 and dims[0 if inputs_first(node) else 1] == channels else None


def _is_layer(node: Any, weights: Collection[str]) -> bool:
    if node.op_type not in ("Conv", "Gemm") or not all(n in weights for n in node.input[1:] if n):
        return False
    scaled = attribute(node, "alpha", 1.0) != 1.0 or attribute(node, "beta", 1.0) != 1.0
    return node.op_type == "Conv" or not (scaled or attribute(node, "transA", 0))


def _splits(node: Any) -> bool:
    """Whether channels stay apart: a Flatten must leave the batch axis alone."""
    return bool(node.op_type != "Flatten" or attribute(node, "axis", 1) == 1)
