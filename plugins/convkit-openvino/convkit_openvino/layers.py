"""Layers of a parsed IR: multiply-accumulates, the type they compute in, the module they stem from.

A layer is an operator that works on what the model is given. What works on constants alone (the
Convert and Multiply that expand a compressed weight) belongs to the weight.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING

from convkit.plugin import LayerInfo
from convkit_openvino.dtypes import FLOATS, LOW_BIT
from convkit_openvino.scopes import scope

if TYPE_CHECKING:
    from convkit_openvino.ir import Graph, Layer

_BORDERS = frozenset({"Parameter", "Result", "Constant"})
_SOURCES = frozenset({"Parameter", "ReadValue", "RandomUniform", "Multinomial"})
"""What gives something new at each inference, whatever feeds it."""
MATRIX = frozenset(
    {
        "Convolution",
        "GroupConvolution",
        "ConvolutionBackpropData",
        "GroupConvolutionBackpropData",
        "DeformableConvolution",
        "MatMul",
    }
)
"""Operators with weights and multiply-accumulates."""
_RECURRENT = frozenset({"LSTMSequence", "GRUSequence", "RNNSequence"})
_CELLS = frozenset({"LSTMCell", "GRUCell", "RNNCell"})
_MOVES = frozenset(
    {
        "Reshape",
        "Squeeze",
        "Unsqueeze",
        "Transpose",
        "MaxPool",
        "Split",
        "VariadicSplit",
        "StridedSlice",
        "Slice",
        "Gather",
        "Concat",
        "Tile",
        "Broadcast",
        "DepthToSpace",
        "SpaceToDepth",
        "ShuffleChannels",
        "Identity",
    }
)
"""They move numbers and make none, so quantized numbers stay quantized."""
_FUSED = frozenset(
    {
        "Abs",
        "Add",
        "Clamp",
        "Convert",
        "Divide",
        "Elu",
        "Gelu",
        "HSigmoid",
        "HSwish",
        "Interpolate",
        "AvgPool",
        "Mish",
        "Multiply",
        "PReLU",
        "ReLU",
        "Selu",
        "Sigmoid",
        "SoftPlus",
        "Subtract",
        "Swish",
        "Tanh",
    }
)
"""What a runtime can compute together with the integer operator before it."""
_INT8_LEVELS = 256
INDEX = "index"
"""The compute type of shapes, ids and masks: integers that are not quantized reals."""


class Analysis:
    """What is constant, and what is quantized, in one graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.constant: set[str] = set()
        self._weights: dict[str, frozenset[str]] = {}
        self._quantized: set[str] = set()
        for layer in graph.layers:
            producers = [producer for producer, _ in graph.sources(layer)]
            if layer.type not in _SOURCES and all(p.id in self.constant for p in producers):
                self.constant.add(layer.id)
                own = {layer.id} if layer.constant is not None else set()
                self._weights[layer.id] = frozenset(own).union(
                    *(self._weights[p.id] for p in producers)
                )
            if _fake_quantizes(layer) or (layer.type in _MOVES and self._moves_quantized(layer)):
                self._quantized.add(layer.id)
        self._integer = self._integers()

    def layers(self) -> Iterator[Layer]:
        """Those that compute, in execution order."""
        return (
            layer
            for layer in self.graph.layers
            if layer.type not in _BORDERS and layer.id not in self.constant
        )

    def activations(self, layer: Layer) -> tuple[tuple[Layer, str], ...]:
        """Producers, with ports, of what is not constant."""
        return tuple(p for p in self.graph.sources(layer) if p[0].id not in self.constant)

    def parameters(self, layer: Layer) -> int:
        """Elements of all constants that go into a layer."""
        found: set[str] = set()
        for producer, _ in self.graph.sources(layer):
            found |= self._weights.get(producer.id, frozenset())
        return sum(c.elements for i in found if (c := self.graph.by_id[i].constant) is not None)

    def compute(self, layer: Layer) -> str:
        """The dtype that a layer computes in.

        `int8` where quantized activations meet quantized weights, and for what is fused with such
        an operator; `dynamic-int8` where integers are multiplied that were scaled at run time;
        else the float type of its result, or `index`. Compressed weights that meet float
        activations are expanded, so their operator computes in float.
        """
        if layer.id in self._integer:
            return "int8"
        kinds = [port.dtype for port in layer.outputs.values()]
        other = "dynamic-int8" if layer.type in MATRIX else INDEX
        return next((kind for kind in kinds if kind in FLOATS), other)

    def _compressed(self, layer: Layer) -> bool:
        """Whether a constant operand is stored in few bits, or rounded to few levels."""
        for producer, _ in self.graph.sources(layer):
            for ancestor in self._weights.get(producer.id, ()):
                constant = self.graph.by_id[ancestor].constant
                if constant is not None and constant.element_type in LOW_BIT:
                    return True
            if producer.id in self.constant and _fake_quantizes(producer):
                return True
        return False

    def _moves_quantized(self, layer: Layer) -> bool:
        data = self.activations(layer)
        return bool(data) and all(p.id in self._quantized for p, _ in data)

    def _integers(self) -> set[str]:
        """Operators that the runtime executes on integers, given by the FakeQuantize around them.

        The weights' zero points and scales stand behind the integers themselves; activations have
        a FakeQuantize, or the Convert, Subtract and Multiply of a model that stores integers.
        """
        found: set[str] = set()
        for layer in self.layers():
            data = self.activations(layer)
            quantized = bool(data) and all(p.id in self._quantized for p, _ in data)
            if layer.type in MATRIX:
                # Two activations, as in attention, have no weights that could be compressed.
                if quantized and (len(data) > 1 or self._compressed(layer)):
                    found.add(layer.id)
            elif _fake_quantizes(layer) or layer.id in self._quantized:
                found.add(layer.id)
            elif layer.type == "Add" and len(data) == 1 and data[0][0].id in found:
                found.add(layer.id)  # a bias
        return found | self._between(found)

    def _between(self, integer: set[str]) -> set[str]:
        """Activations, scalings and residual sums between integer operators and a FakeQuantize,
        which a runtime computes on integers or fuses with the operator before them: they follow
        one such operator at most, and take nothing else that is not quantized.

        Normalizations, Softmax and sums of several products compute in float: their results are
        quantized only afterwards.
        """
        consumers: dict[str, list[str]] = {}
        for (consumer, _), (producer, _) in self.graph.feeds.items():
            consumers.setdefault(producer, []).append(consumer)
        roots: dict[str, str] = {}
        for layer in self.layers():
            if layer.type in MATRIX and layer.id in integer:
                roots[layer.id] = layer.id
                continue
            if layer.type not in _FUSED or layer.id in self._quantized:
                continue
            open_ends = {p.id for p, _ in self.activations(layer) if p.id not in self._quantized}
            found = {roots.get(end, "") for end in open_ends} or {layer.id}
            if len(found) == 1 and "" not in found:
                roots[layer.id] = found.pop()
        kept: set[str] = set()
        for layer in reversed(self.graph.layers):
            goals = consumers.get(layer.id, [])
            if layer.id in roots and goals and all(g in integer or g in kept for g in goals):
                kept.add(layer.id)
        return kept


def _fake_quantizes(layer: Layer) -> bool:
    return layer.type == "FakeQuantize" and int(layer.data.get("levels", "65536")) <= _INT8_LEVELS


def layer_infos(graph: Graph) -> tuple[LayerInfo, ...]:
    """Layers of the main graph; what a loop runs counts as the loop's."""
    analysis = Analysis(graph)
    tensors = _tensor_names(graph)
    taken: set[str] = set()
    found = []
    for layer in analysis.layers():
        name = layer.name if layer.name not in taken else f"{layer.name}#{layer.id}"
        taken.add(name)
        found.append(
            LayerInfo(
                name=name,
                op_type=layer.type,
                inputs=tuple(
                    tensors[producer.id, port] for producer, port in analysis.activations(layer)
                ),
                outputs=tuple(tensors[layer.id, port] for port in layer.outputs),
                macs=macs(layer),
                parameter_count=analysis.parameters(layer),
                compute=analysis.compute(layer),
                scope=scope(layer.name),
            )
        )
    return tuple(found)


def _tensor_names(graph: Graph) -> dict[tuple[str, str], str]:
    """A unique name for each output port: its own where it has one, else the layer's."""
    taken: set[str] = set()
    names = {}
    for layer in graph.layers:
        for place, (port_id, port) in enumerate(layer.outputs.items()):
            own = [*port.names, layer.name if place == 0 else f"{layer.name}:{place}"]
            free = (n for n in own if n not in taken)
            name = next(free, f"{layer.name}#{layer.id}:{place}")
            taken.add(name)
            names[layer.id, port_id] = name
    return names


def macs(layer: Layer) -> int:
    """Multiply-accumulates of one inference; unknown dimensions count as 1."""
    if layer.bodies:
        return layer.rounds * max(sum(macs(x) for x in body.walk()) for body in layer.bodies)
    ins = [[size or 1 for size in port.shape] for port in layer.inputs.values()]
    outs = [[size or 1 for size in port.shape] for port in layer.outputs.values()]
    kind = layer.type
    if kind == "ScaledDotProductAttention" and outs and len(ins) >= 3:
        return prod(ins[0]) * ins[1][-2] + prod(outs[0]) * ins[2][-2]
    if kind not in MATRIX | _RECURRENT | _CELLS or not outs or len(ins) < 2:
        return 0
    if kind == "MatMul":
        deep = -2 if layer.data.get("transpose_a") == "true" else -1
        return prod(outs[0]) * (ins[0][deep] if len(ins[0]) > 1 else prod(ins[0]))
    if kind in ("Convolution", "DeformableConvolution"):
        kernel = ins[-1 if kind == "Convolution" else 2]
        return prod(outs[0]) * prod(kernel[1:])
    if kind == "GroupConvolution":
        return prod(outs[0]) * prod(ins[1][2:])
    if kind == "ConvolutionBackpropData":
        return prod(ins[0]) * prod(ins[1][1:])
    if kind == "GroupConvolutionBackpropData":
        return prod(ins[0]) * prod(ins[1][2:])
    # Weights and recurrences are the operands with a gates axis; steps and batch come from data.
    steps = prod(ins[0][:2]) if kind in _RECURRENT else prod(ins[0][:1])
    rank = 3 if kind in _RECURRENT else 2
    matrices = [shape for shape in ins[1:] if len(shape) == rank][-2:]
    return steps * sum(prod(shape) for shape in matrices)
