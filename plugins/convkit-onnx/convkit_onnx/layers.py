"""Layers of an ONNX graph with their multiply-accumulates and the type that they compute in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

from convkit.plugin import LayerInfo
from convkit_onnx.integers import compute
from convkit_onnx.sorting import reads

if TYPE_CHECKING:
    import onnx

Shape = tuple[int, ...]

_ORT_SUFFIX = "_quantized"
"""What ONNX Runtime's quantizer appends to the name of a tensor that it quantizes."""

_MULTIPLICATIONS = frozenset(
    "Gemm MatMul MatMulInteger MatMulIntegerToFloat QGemm QLinearMatMul "
    "DynamicQuantizeMatMul".split()
)
WITH_MACS = _MULTIPLICATIONS | frozenset({"Conv", "ConvTranspose", "LSTM", "GRU", "RNN"})
"""Types of operators that multiply and accumulate."""

_SCOPES = "pkg.torch.onnx.name_scopes"


@dataclass(frozen=True)
class GraphFacts:
    """What layers are computed from.

    Attributes:
        shapes: tensor to shape, symbolic dimensions as 1.
        dtypes: tensor to numpy's dtype name, empty where unknown.
        constants: constant tensor to its number of elements.
        producers: tensor to the node that makes it.
        consumers: tensor to the nodes that read it, from inside their subgraphs too.
        outputs: of the graph.
        lowest: constant tensors of one element, the lowest integer of their type.
    """

    shapes: Mapping[str, Shape]
    dtypes: Mapping[str, str]
    constants: Mapping[str, int]
    producers: Mapping[str, Any]
    consumers: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    outputs: frozenset[str] = frozenset()
    lowest: frozenset[str] = frozenset()


def gather(model: onnx.ModelProto) -> GraphFacts:
    """Shapes and types by ONNX's own shape inference, which may leave some unknown."""
    import onnx

    try:
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception:  # above 2 GiB, or an operator of another domain: do without
        graph = model.graph
    shapes: dict[str, Shape] = {}
    dtypes: dict[str, str] = {}
    for value in (*graph.input, *graph.output, *graph.value_info):
        kind = value.type.tensor_type
        dtypes[value.name] = dtype_name(kind.elem_type)
        if kind.HasField("shape"):
            shapes[value.name] = tuple(d.dim_value or 1 for d in kind.shape.dim)
    constants: dict[str, int] = {}
    for tensor in model.graph.initializer:
        shapes[tensor.name] = tuple(tensor.dims)
        dtypes[tensor.name] = dtype_name(tensor.data_type)
        constants[tensor.name] = prod(tensor.dims)
    for node in model.graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = prod(shapes.get(node.output[0], ()))
        elif node.input and all(name in constants for name in node.input if name):
            # Weights behind DequantizeLinear, Transpose or Cast are still weights.
            constants[node.output[0]] = sum(constants[name] for name in node.input if name)
    producers = {name: node for node in model.graph.node for name in node.output if name}
    for name in producers:
        # A chain of quantized operators is of ONNX Runtime's own domain, beyond ONNX's inference.
        if name not in shapes and name.removesuffix(_ORT_SUFFIX) in shapes:
            shapes[name] = shapes[name.removesuffix(_ORT_SUFFIX)]
    consumers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in dict.fromkeys(reads(node)):
            consumers.setdefault(name, []).append(node)
    outputs = frozenset(value.name for value in model.graph.output)
    lowest = frozenset(t.name for t in model.graph.initializer if _is_lowest(t))
    return GraphFacts(shapes, dtypes, constants, producers, consumers, outputs, lowest)


def _is_lowest(tensor: Any) -> bool:
    import numpy as np
    import onnx

    if prod(tensor.dims) != 1 or dtype_name(tensor.data_type) not in ("int8", "uint8"):
        return False
    value = onnx.numpy_helper.to_array(tensor).reshape(())
    return bool(value == np.iinfo(value.dtype).min)


def dtype_name(elem_type: int) -> str:
    """numpy's name of an ONNX element type; empty where it has none."""
    import onnx

    try:
        return str(onnx.helper.tensor_dtype_to_np_dtype(elem_type).name)
    except KeyError:
        return ""


def model_layers(model: onnx.ModelProto, facts: GraphFacts) -> tuple[LayerInfo, ...]:
    """One layer for each node of the main graph, constants left out, in execution order."""
    return tuple(
        LayerInfo(
            name=name,
            op_type=node.op_type,
            inputs=tuple(n for n in node.input if n and n not in facts.constants),
            outputs=tuple(n for n in node.output if n),
            macs=macs(node, facts.shapes),
            parameter_count=sum(facts.constants.get(n, 0) for n in node.input),
            compute=compute(node, facts),
            scope=scope(node),
        )
        for name, node in named_nodes(model)
    )


def named_nodes(model: onnx.ModelProto) -> Iterator[tuple[str, Any]]:
    """Nodes of the main graph with the unique names that layers go by, constants left out."""
    taken: set[str] = set()
    for index, node in enumerate(model.graph.node):
        if node.op_type == "Constant":
            continue
        name = node.name or f"{node.op_type}_{index}"
        name = name if name not in taken else f"{name}#{index}"
        taken.add(name)
        yield name, node


def scope(node: Any) -> str:
    """The module path: from the dynamo exporter's metadata or the legacy exporter's node names."""
    for prop in node.metadata_props:
        if prop.key == _SCOPES:
            names = [part.strip(" '\"") for part in prop.value.strip("[]").split(",")]
            # The list ends with the node's own name.
            return next((name for name in reversed(names[:-1]) if name), "")
    path = ""
    for part in node.name.split("/")[1:-1] if node.name.startswith("/") else ():
        # A child of a container repeats the end of its path: /body/body.0/Gemm, and
        # /head/cv2.0/cv2.0.1/Conv for head.cv2.0.1.
        known = path.split(".")
        ends = (".".join(known[place:]) for place in range(len(known)))
        shared = next((end for end in ends if end and part.startswith(end + ".")), "")
        path += part.removeprefix(shared) if shared else ("." if path else "") + part
    return path


def macs(node: Any, shapes: Mapping[str, Shape]) -> int:
    """Multiply-accumulates of one node; 0 where it has none or a shape is unknown."""
    kind, inputs = node.op_type, list(node.input)
    result = shapes.get(node.output[0]) if node.output else None
    if kind in ("Conv", "ConvInteger", "QLinearConv"):
        weight = shapes.get(inputs[3 if kind == "QLinearConv" else 1])
        return prod(result) * prod(weight[1:]) if result and weight else 0
    if kind == "ConvTranspose":
        data, weight = shapes.get(inputs[0]), shapes.get(inputs[1])
        return prod(data) * prod(weight[1:]) if data and weight else 0
    if kind in _MULTIPLICATIONS:
        left = shapes.get(inputs[0])
        transposed = any(a.name == "transA" and a.i for a in node.attribute)
        return prod(result or (0,)) * left[0 if transposed else -1] if left else 0
    if kind in ("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"):
        data, weight, recurrent = (shapes.get(name) for name in inputs[:3])
        # Two of the input's axes are steps and batch; the weights carry directions and gates.
        return (
            prod(data[:2]) * (prod(weight) + prod(recurrent))
            if data and weight and recurrent
            else 0
        )
    return 0
