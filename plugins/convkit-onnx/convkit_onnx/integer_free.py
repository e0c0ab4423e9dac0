"""Integer arithmetic written in float operators, number for number.

An integer tensor is carried as a float32 tensor of the same whole numbers. Products of bytes are
added up in float32, which is exact up to 2^24; the sum is then scaled, rounded (half to even),
shifted and clipped as ONNX Runtime does it. So the float model gives what the integer model gives,
its steps included, and not what the model was before it was quantized.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from convkit_onnx import integer_contrib
from convkit_onnx.graph_writer import GraphWriter
from convkit_onnx.whole_numbers import (
    FLOAT,
    INT32,
    UINT8,
    Unsupported,
    WholeNumbers,
    attributes,
    inputs_of,
    integer,
)

_MOVERS = frozenset(
    "DepthToSpace Expand Flatten Gather Identity MaxPool Reshape Slice SpaceToDepth Squeeze Tile "
    "Transpose Unsqueeze".split()
)
"""Operators that pass numbers of their first input on."""


def rewrite(model: Any) -> None:
    """Write the main graph anew, in place. The model must be of opset 11 at least, which can round,
    have its weights and the types of its tensors as far as they can be inferred, and no half
    precision.

    Raises:
        Unsupported: an operator cannot be written in float.
    """
    writer = GraphWriter(model)
    numbers = WholeNumbers(writer)
    for node in list(model.graph.node):
        own = REWRITES.get(node.op_type)
        if own is not None:
            own(numbers, node)
        else:
            _keep(numbers, node)
    writer.finish()


def _keep(numbers: WholeNumbers, node: Any) -> None:
    """An operator that is not of quantized numbers itself, but may pass them on."""
    twin = numbers.twins.get(node.input[0]) if node.input else None
    if node.op_type == "Cast" and twin and integer(node, "to") == FLOAT:
        numbers.writer.rename(twin, node.output[0])
        return
    numbers.writer.keep(node)
    if node.op_type == "Concat":
        numbers.move(node, node.input)
    elif node.op_type in _MOVERS:
        numbers.move(node, node.input[:1])


def _rank(numbers: WholeNumbers, name: str) -> int | None:
    shape = numbers.writer.shape(name)
    return None if shape is None else len(shape)


def _dequantize(numbers: WholeNumbers, node: Any) -> None:
    data, scale, zero = inputs_of(node, 3)
    axis = integer(node, "axis", 1)
    block = integer(node, "block_size")
    if block:
        scale, shift = _spread(numbers, data, (scale, zero), axis, block)
    else:
        rank = _rank(numbers, data)
        scale, shift = numbers.along(scale, rank, axis), numbers.shift(zero, rank, axis)
    product = numbers.binary("Mul", numbers.centred(data, shift), scale, node.output[0])
    numbers.writer.rename(product, node.output[0])


def _spread(
    numbers: WholeNumbers, data: str, of_blocks: tuple[str, str], axis: int, block: int
) -> tuple[str, str]:
    """Scales and zero points of blocks, one for each number."""
    import numpy as np

    shape = numbers.writer.shape(data)
    found = []
    for name in of_blocks:
        array = numbers.writer.value(name) if name else None
        if name and (array is None or shape is None or not shape[axis]):
            raise Unsupported("scales of blocks that are no constants")
        if array is None or shape is None:
            found.append("")
            continue
        repeated = np.repeat(array.astype(np.float32), block, axis)
        whole = np.take(repeated, np.arange(shape[axis]), axis)
        found.append(numbers.writer.constant(whole, name))
    return found[0], found[1]


def _quantize(numbers: WholeNumbers, node: Any) -> None:
    data, scale, zero = inputs_of(node, 3)
    if integer(node, "block_size"):
        raise Unsupported("activations quantized in blocks")
    axis, rank = integer(node, "axis", 1), _rank(numbers, data)
    kind = numbers.kind(zero, integer(node, "output_dtype") or UINT8)
    data = data if numbers.writer.kind(data) in (0, FLOAT) else numbers.floats(data)
    steps = numbers.writer.add("Div", [data, numbers.along(scale, rank, axis)], node.output[0])
    numbers.round_to(steps, numbers.shift(zero, rank, axis), kind, node.output[0])


def _quantize_by_range(numbers: WholeNumbers, node: Any) -> None:
    """DynamicQuantizeLinear."""
    (data,) = inputs_of(node, 1)
    integers, scale, zero = node.output
    numbers.measure(data, scale, zero)
    steps = numbers.writer.add("Div", [data, scale], data)
    numbers.round_to(steps, numbers.floats(zero), UINT8, integers)


def _convolve(numbers: WholeNumbers, node: Any) -> None:
    """QLinearConv."""
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias = inputs_of(node, 9)
    rank, output = _rank(numbers, w), node.output[0]
    inputs = [
        numbers.centred(x, numbers.shift(x_zero)),
        numbers.centred(w, numbers.shift(w_zero, rank, 0)),
        *([numbers.floats(bias)] if bias else []),
    ]
    total = numbers.writer.add("Conv", inputs, output, **attributes(node))
    scales = numbers.along(x_scale, None, 0), numbers.along(w_scale, rank, 1)
    _rescale(numbers, total, scales, (y_scale, y_zero), output)


def _multiply(numbers: WholeNumbers, node: Any) -> None:
    """QLinearMatMul: scales of the left side go by rows, of the right side by columns."""
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = inputs_of(node, 8)
    output = node.output[0]
    inputs = [
        numbers.centred(a, numbers.shift(a_zero, 2, 0)),
        numbers.centred(b, numbers.shift(b_zero, 1, 0)),
    ]
    total = numbers.writer.add("MatMul", inputs, output)
    scales = numbers.along(a_scale, 2, 0), numbers.along(b_scale, 1, 0)
    _rescale(numbers, total, scales, (y_scale, y_zero), output)


def _rescale(
    numbers: WholeNumbers,
    total: str,
    scales: tuple[str, str],
    result: tuple[str, str],
    output: str,
) -> None:
    """A sum of products in steps of the result."""
    ratio = numbers.binary("Mul", *scales, output)
    ratio = numbers.binary("Div", ratio, numbers.along(result[0], None, 0), output)
    steps = numbers.writer.add("Mul", [total, ratio], output)
    numbers.round_to(steps, numbers.shift(result[1]), numbers.kind(result[1]), output)


def _convolve_integers(numbers: WholeNumbers, node: Any) -> None:
    """ConvInteger."""
    x, w, x_zero, w_zero = inputs_of(node, 4)
    inputs = [
        numbers.centred(x, numbers.shift(x_zero)),
        numbers.centred(w, numbers.shift(w_zero, _rank(numbers, w), 0)),
    ]
    total = numbers.writer.add("Conv", inputs, node.output[0], **attributes(node))
    numbers.integers(total, INT32, node.output[0])


def _multiply_integers(numbers: WholeNumbers, node: Any) -> None:
    """MatMulInteger."""
    a, b, a_zero, b_zero = inputs_of(node, 4)
    inputs = [
        numbers.centred(a, numbers.shift(a_zero, 2, 0)),
        numbers.centred(b, numbers.shift(b_zero, 1, 0)),
    ]
    total = numbers.writer.add("MatMul", inputs, node.output[0])
    numbers.integers(total, INT32, node.output[0])


REWRITES: Mapping[str, Callable[[WholeNumbers, Any], None]] = {
    "DequantizeLinear": _dequantize,
    "QuantizeLinear": _quantize,
    "DynamicQuantizeLinear": _quantize_by_range,
    "QLinearConv": _convolve,
    "QLinearMatMul": _multiply,
    "ConvInteger": _convolve_integers,
    "MatMulInteger": _multiply_integers,
    **integer_contrib.REWRITES,
}
"""By operator; the names are the same in ONNX's domain and in ONNX Runtime's."""
