"""Averages over padded windows, in operators that a file can hold. Runs beside onnx-tf.

Where the padding is not TensorFlow's own `SAME`, onnx-tf calls Python for an average, and says
itself that such a graph cannot be serialized.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any


def write_out(model: Any) -> None:
    """Replace such averages of the main graph, in place, where the sizes are known: by a
    convolution that averages all places, padding among them, and a factor, how many there are for
    each that counts."""
    graph = model.graph
    if not any(_pads(node) for node in graph.node):
        return
    shapes = _shapes(model)
    nodes = [made for node in graph.node for made in _written(graph, node, shapes) or (node,)]
    copies = [_copy(node) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _written(graph: Any, node: Any, shapes: dict[str, tuple[int, ...]]) -> Sequence[Any]:
    """The operators in the place of one; none where it may stay."""
    import numpy as np
    from onnx import helper, numpy_helper

    pads, shape = _pads(node), shapes.get(node.input[0], ())
    given = _attributes(node)
    kernel = given.get("kernel_shape", [])
    if not pads or len(shape) != len(kernel) + 2 or node.output[0] not in shapes:
        return ()
    axes, result = len(kernel), node.output[0]
    strides = given.get("strides", [1] * axes)
    ones = np.full((shape[1], 1, *kernel), 1 / math.prod(kernel), np.float32)
    factor = np.ones((), np.float32)
    for axis in range(axes):
        sizes = shape[2 + axis], shapes[result][2 + axis]
        each = _counted(*sizes, kernel[axis], strides[axis], pads[axis])
        factor = np.multiply.outer(factor, kernel[axis] / each)
    if given.get("count_include_pad", 0):
        factor = np.ones_like(factor)
    for name, value in (("ones", ones), ("factor", factor.astype(np.float32))):
        graph.initializer.append(numpy_helper.from_array(value, f"{result}__{name}"))
    mean = helper.make_node(
        "Conv",
        [node.input[0], f"{result}__ones"],
        [f"{result}__mean"],
        node.name,
        group=shape[1],
        kernel_shape=kernel,
        strides=strides,
        pads=pads,
    )
    inputs = [f"{result}__mean", f"{result}__factor"]
    return mean, helper.make_node("Mul", inputs, [result], f"{node.name}__factor")


def _counted(size: int, results: int, kernel: int, stride: int, before: int) -> Any:
    """How many of a window's places lie inside, for each result along an axis."""
    import numpy as np

    starts = np.arange(results) * stride - before
    return np.minimum(starts + kernel, size) - np.maximum(starts, 0)


def _pads(node: Any) -> list[int]:
    """Explicit padding of an average without other complications; empty where there is none."""
    if node.op_type != "AveragePool" or node.domain not in ("", "ai.onnx"):
        return []
    given = _attributes(node)
    plain = given.get("auto_pad", b"NOTSET") == b"NOTSET" and not given.get("ceil_mode", 0)
    if not plain or set(given.get("dilations", ())) - {1}:
        return []
    pads = list(given.get("pads", ()))
    return pads if any(pads) else []


def _attributes(node: Any) -> dict[str, Any]:
    from onnx import helper

    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def _shapes(model: Any) -> dict[str, tuple[int, ...]]:
    """Of the float32 values whose shape is known."""
    from onnx import TensorProto, shape_inference

    try:
        graph = shape_inference.infer_shapes(model).graph
    except Exception:  # above 2 GiB, say: what the file says itself has to do
        graph = model.graph
    found = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        sizes = tuple(int(d.dim_value) for d in kind.shape.dim)
        if kind.elem_type == TensorProto.FLOAT and all(sizes[1:]):
            found[value.name] = sizes
    return found


def _copy(node: Any) -> Any:
    from onnx import NodeProto

    copy = NodeProto()
    copy.CopyFrom(node)
    return copy
