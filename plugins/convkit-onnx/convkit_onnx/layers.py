"""Layers of an ONNX graph with their multiply-accumulates and the type that they compute in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from convkit.plugin import LayerInfo

if TYPE_CHECKING:
    import onnx

Shape = tuple[int, ...]

_INTEGER_OPS = frozenset({"ConvInteger", "MatMulInteger"})
_ARITHMETIC = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "QLinearConv", "QLinearMatMul"})
_SCOPES = "pkg.torch.onnx.name_scopes"


@dataclass(frozen=True)
class GraphFacts:
    """What layers are computed from.

    Attributes:
        shapes: tensor to shape, symbolic dimensions as 1.
        dtypes: tensor to numpy's dtype name, empty where unknown.
        constants: constant tensor to its number of elements.
        producers: tensor to the node that makes it.
    """

    shapes: Mapping[str, Shape]
    dtypes: Mapping[str, str]
    constants: Mapping[str, int]
    producers: Mapping[str, Any]


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
    return GraphFacts(shapes, dtypes, constants, producers)


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
        # A child of a container repeats the container's name: /body/body.0/Gemm.
        container = path.rpartition(".")[2]
        repeated = bool(container) and part.startswith(container + ".")
        path += part.removeprefix(container) if repeated else ("." if path else "") + part
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
    if kind in ("MatMul", "MatMulInteger", "QLinearMatMul", "Gemm"):
        left = shapes.get(inputs[0])
        transposed = any(a.name == "transA" and a.i for a in node.attribute)
        return prod(result or (0,)) * left[0 if transposed else -1] if left else 0
    if kind in ("LSTM", "GRU", "RNN"):
        data, weight, recurrent = (shapes.get(name) for name in inputs[:3])
        # Two of the input's axes are steps and batch; the weights carry directions and gates.
        return (
            prod(data[:2]) * (prod(weight) + prod(recurrent))
            if data and weight and recurrent
            else 0
        )
    return 0


def compute(node: Any, facts: GraphFacts) -> str:
    """`int8` where the operator works on integers: an integer operator, or a float operator whose
    operands with arithmetic all come from DequantizeLinear (a runtime fuses those)."""
    if node.op_type in _INTEGER_OPS or node.op_type.startswith("QLinear"):
        return "int8"
    if node.op_type in _ARITHMETIC:
        operands = [facts.producers.get(name) for name in node.input[:2]]
        if all(p is not None and p.op_type == "DequantizeLinear" for p in operands):
            return "int8"
    names = [*node.output, *node.input]
    return next((facts.dtypes[n] for n in names if facts.dtypes.get(n)), "")
