"""Flat graphs: freezing a signature into one, and reading its operators and constants."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from convkit.plugin import LayerInfo, TraitRequirement

MESSAGE_BYTES = 2**31 - 1
"""The largest protobuf message. A GraphDef holds its constants, so these must be smaller yet;
variables of a SavedModel lie in files beside its message and do not count."""

FITS_IN_ONE_MESSAGE = TraitRequirement("parameter_bytes", maximum=MESSAGE_BYTES)
"""For edges that make constants of all weights."""

PLUMBING = frozenset({"Const", "Placeholder", "Identity", "NoOp"})
"""Operators that are no layers."""


def changes_variables(definition: Any) -> bool:
    """Whether an inference leaves something behind, so that the graph cannot be frozen.

    onnx-tf makes such graphs of recurrent layers: they assign their weights at each call.
    """
    return any(
        node.op.startswith("Assign") and node.op.endswith("VariableOp")
        for node in all_nodes(definition)
    )


def definition_of(function: Any) -> Any:
    """GraphDef of a signature with the functions that it calls, calls not inlined."""
    return function.graph.as_graph_def(use_pybind11_proto=False)


def freeze(
    tf: Any, function: Any, inputs: Sequence[str], outputs: Sequence[str], lower: bool
) -> tuple[Any, dict[str, str], dict[str, str]]:
    """One GraphDef with variables as constants and calls inlined.

    Placeholders come first and outputs last, each in the order given, and bear the names of the
    signature where these are free.

    Args:
        function: a signature of a loaded SavedModel.
        inputs, outputs: names of the signature in the order that the file should have.
        lower: turn loops into the primitive operators of TensorFlow 1, as most readers expect.

    Returns:
        The GraphDef, and for inputs and outputs the node name of each signature name.
    """
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    frozen = convert_variables_to_constants_v2(function, lower_control_flow=lower)
    definition = frozen.graph.as_graph_def(use_pybind11_proto=False)
    # A signature's tensors are flattened in the order of their sorted names.
    keywords = function._arg_keywords or sorted(function.structured_input_signature[1])
    arguments = dict(zip(keywords, function.inputs, strict=False))
    results = dict(zip(sorted(function.structured_outputs), frozen.outputs, strict=True))
    fresh = tf.Graph()
    with fresh.as_default():
        placeholders = {
            name: tf.compat.v1.placeholder(
                arguments[name].dtype, arguments[name].shape, name=_node_name(name)
            )
            for name in inputs
        }
        tensors = tf.import_graph_def(
            definition,
            input_map={_operation(arguments[name].name): placeholders[name] for name in inputs},
            return_elements=[results[name].name for name in outputs],
            name="",
        )
        ends = {
            name: _end(tf, tensor, function.structured_outputs[name].shape, _node_name(name))
            for name, tensor in zip(outputs, tensors, strict=True)
        }
    keep = [x.op.name for x in (*placeholders.values(), *ends.values())]
    pruned = tf.compat.v1.graph_util.extract_sub_graph(
        fresh.as_graph_def(use_pybind11_proto=False), keep
    )
    for node in pruned.node:
        node.ClearField("experimental_debug_info")
    return (
        pruned,
        {name: tensor.op.name for name, tensor in placeholders.items()},
        {name: tensor.op.name for name, tensor in ends.items()},
    )


def _end(tf: Any, tensor: Any, shape: Any, name: str) -> Any:
    """An output node; lowered loops lose static shapes, which are then written down in it."""
    if tensor.shape.rank is None and shape.rank is not None:
        return tf.ensure_shape(tensor, shape, name=name)
    return tf.identity(tensor, name=name)


def _operation(tensor_name: str) -> str:
    return tensor_name.partition(":")[0]


def _node_name(name: str) -> str:
    """The signature's name as a node name: letters, digits and `._-/>`, not first a sign."""
    cleaned = "".join(c if c.isascii() and (c.isalnum() or c in "._-/>") else "_" for c in name)
    return cleaned if cleaned[:1].isalnum() else f"tensor{cleaned}"


def all_nodes(definition: Any) -> Iterator[Any]:
    """NodeDefs of a GraphDef and of the functions in its library."""
    yield from definition.node
    for function in definition.library.function:
        yield from function.node_def


def operators(definition: Any) -> dict[str, int]:
    """Operator type to count, without constants, placeholders and plumbing."""
    found = Counter(node.op for node in all_nodes(definition) if node.op not in PLUMBING)
    return dict(sorted(found.items()))


def parameter_bytes(tf: Any, definition: Any) -> dict[str, int]:
    """Bytes of constants by dtype; shapes and axes are constants too."""
    sizes: Counter[str] = Counter()
    for node in all_nodes(definition):
        if node.op == "Const":
            dtype = tf.dtypes.as_dtype(node.attr["dtype"].type)
            if dtype != tf.string:
                shape = [d.size for d in node.attr["value"].tensor.tensor_shape.dim]
                sizes[dtype.name] += math.prod(shape) * dtype.size
    return dict(sorted(sizes.items()))


def layers(graph: Any) -> tuple[LayerInfo, ...]:
    """The operators of a tf.Graph in the order of its file, without plumbing.

    Names are node names, tensors are named `node` or `node:1`.
    """
    return tuple(
        LayerInfo(
            name=op.name,
            op_type=op.type,
            inputs=tuple(public_name(x) for x in map(_origin, op.inputs) if x.op.type != "Const"),
            outputs=tuple(public_name(x) for x in op.outputs),
            macs=_macs(op),
            parameter_count=sum(
                _elements(x) for x in map(_origin, op.inputs) if x.op.type == "Const"
            ),
            compute=op.outputs[0].dtype.name if op.outputs else "",
            scope=scope(op.name),
        )
        for op in graph.get_operations()
        if op.type not in PLUMBING
    )


def public_name(tensor: Any) -> str:
    """`node`, or `node:1` for a further result."""
    name: str = tensor.name
    return name.removesuffix(":0")


def scope(node: str) -> str:
    """The part of a node's name that says where in the original code it stems from."""
    return node.rpartition("/")[0]


def _origin(tensor: Any) -> Any:
    """The tensor behind Identity nodes."""
    while tensor.op.type == "Identity":
        tensor = tensor.op.inputs[0]
    return tensor


def _shape(tensor: Any) -> list[int]:
    return [1 if d is None else d for d in (tensor.shape if tensor.shape.rank is not None else ())]


def _elements(tensor: Any) -> int:
    return math.prod(_shape(tensor))


def _macs(op: Any) -> int:
    """Multiply-accumulates of one inference, unknown dimensions counted as 1."""
    if len(op.inputs) < 2 or not op.outputs:
        return 0
    first, second, output = _shape(op.inputs[0]), _shape(op.inputs[1]), _elements(op.outputs[0])
    match op.type:
        case "Conv2D" | "Conv3D":
            return output * math.prod(second[:-1])
        case "DepthwiseConv2dNative" if len(second) == 4:
            return output * second[0] * second[1]
        case "Conv2DBackpropInput" if len(op.inputs) > 2:
            return _elements(op.inputs[2]) * math.prod(second[:-1])
        case "MatMul" if len(first) == 2:
            return output * first[0 if op.get_attr("transpose_a") else 1]
        case "BatchMatMul" | "BatchMatMulV2" if len(first) >= 2:
            return output * first[-2 if op.get_attr("adj_x") else -1]
    return 0
