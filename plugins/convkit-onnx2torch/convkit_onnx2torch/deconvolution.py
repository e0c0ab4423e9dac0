"""Transposed convolutions that cut more off one end than the other, as TensorFlow's `SAME` does.

torch cuts both ends alike. onnx2fx (0.0.1) adds the difference at the end where it should be cut,
and onnx2torch refuses. Written as one that cuts both ends alike, and a Slice for the rest, as the
ONNX standard defines `pads` and `output_shape`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from convkit_onnx2torch.graphs import copied, domain_of, graphs

_SLICE_WITH_INPUTS = 10
"""Since this opset, where to slice is an input."""


def write_out(model: Any, shapes: Mapping[str, Sequence[int | str]]) -> None:
    """Rewrite them in all graphs of the model.

    Args:
        shapes: of values whose rank is known; an axis that is not known is a text.
    """
    opset = next((o.version for o in model.opset_import if domain_of(o.domain) == ""), 1)
    for graph in graphs(model.graph):
        nodes = [made for node in graph.node for made in _written(graph, node, shapes, int(opset))]
        del graph.node[:]
        graph.node.extend(nodes)


def _written(
    graph: Any, node: Any, shapes: Mapping[str, Sequence[int | str]], opset: int
) -> list[Any]:
    """A node as one or two; all are copies."""
    whole = copied(node)
    if node.op_type != "ConvTranspose" or domain_of(node.domain) != "":
        return [whole]
    pads = _pads(node, shapes)
    half = len(pads) // 2
    begins, ends = pads[:half], pads[half:]
    both = [min(pair) for pair in zip(begins, ends, strict=True)]
    starts = [begin - cut for begin, cut in zip(begins, both, strict=True)]
    left = [end - cut for end, cut in zip(ends, both, strict=True)]
    if not any((*starts, *left)) or min(both) < 0:
        return [whole]
    import onnx

    result = node.output[0]
    kept = [a for a in node.attribute if a.name not in ("auto_pad", "output_shape", "pads")]
    del whole.attribute[:]
    whole.attribute.extend([*kept, onnx.helper.make_attribute("pads", [*both, *both])])
    whole.output[0] = f"{result}__uncut"
    bounds: dict[str, Any] = {
        "starts": starts,
        "ends": [-cut if cut else 2**31 - 1 for cut in left],
        "axes": list(range(2, 2 + half)),
    }
    name = f"{node.name}__cut"
    if opset < _SLICE_WITH_INPUTS:
        return [whole, onnx.helper.make_node("Slice", [whole.output[0]], [result], name, **bounds)]
    for key, values in bounds.items():
        graph.initializer.append(
            onnx.helper.make_tensor(f"{result}__{key}", onnx.TensorProto.INT64, [half], values)
        )
    inputs = [whole.output[0], *(f"{result}__{key}" for key in bounds)]
    return [whole, onnx.helper.make_node("Slice", inputs, [result], name)]


def _pads(node: Any, shapes: Mapping[str, Sequence[int | str]]) -> list[int]:
    """What is cut off at the beginnings and the ends; empty where that is nothing, left to
    `auto_pad`, or follows from sizes that are not known."""
    import onnx

    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    if "output_shape" not in given:
        return list(given.get("pads", ())) if _padding(given) == "NOTSET" else []
    wanted = given["output_shape"]
    axes = len(wanted)
    sizes, kernel = shapes.get(node.input[0], ())[2:], shapes.get(node.input[1], ())[2:]
    if len(sizes) != axes or len(kernel) != axes:
        return []
    strides = given.get("strides", [1] * axes)
    dilations = given.get("dilations", [1] * axes)
    extra = given.get("output_padding", [0] * axes)
    begins, ends = [], []
    for i in range(axes):
        size, side = sizes[i], kernel[i]
        if not isinstance(size, int) or not isinstance(side, int):
            return []
        total = strides[i] * (size - 1) + extra[i] + (side - 1) * dilations[i] + 1 - wanted[i]
        small, large = math.floor(total / 2), math.ceil(total / 2)
        upper = _padding(given) == "SAME_UPPER"
        begins.append(small if upper else large)
        ends.append(large if upper else small)
    return [*begins, *ends]


def _padding(attributes: Mapping[str, Any]) -> str:
    return bytes(attributes.get("auto_pad", b"NOTSET")).decode()
