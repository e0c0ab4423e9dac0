"""Flatten of a vector, which onnx2tf 2.6.9 takes for a picture's: it hands out `[1, n]` whatever
the axis, and changes the model's input to match."""

from __future__ import annotations

from typing import Any

_NAME = "flattened_vector"


def reshape_vectors(model: Any) -> None:
    """Write every Flatten of one axis as the Reshape that it is, in place."""
    import onnx

    nodes = [node for node in model.graph.node if node.op_type == "Flatten"]
    if not nodes:
        return
    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except Exception:  # beyond 2 GiB, or puzzled: what the file says itself has to do
        graph = model.graph
    ranks = {t.name: len(t.dims) for t in graph.initializer}
    for value in (*graph.input, *graph.value_info):
        if value.type.tensor_type.HasField("shape"):
            ranks[value.name] = len(value.type.tensor_type.shape.dim)
    for number, node in enumerate(nodes):
        if ranks.get(node.input[0]) != 1:
            continue
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        name = f"{_NAME}_{number}"
        sizes = onnx.helper.make_tensor(
            name, onnx.TensorProto.INT64, [2], [-1, 1] if axis == 1 else [1, -1]
        )
        model.graph.initializer.append(sizes)
        node.op_type = "Reshape"
        node.input.append(name)
        del node.attribute[:]
