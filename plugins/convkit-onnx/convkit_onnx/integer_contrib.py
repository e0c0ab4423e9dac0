"""The same for the operators that ONNX Runtime's own quantizer writes, of the domain
`com.microsoft`. See `ContribOperators.md` of ONNX Runtime for what they compute."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from convkit_onnx.whole_numbers import (
    UINT8,
    Unsupported,
    WholeNumbers,
    attributes,
    inputs_of,
    integer,
)

_PREFIX = "QLinear"


def _elementwise(numbers: WholeNumbers, node: Any) -> None:
    """QLinearAdd, QLinearMul."""
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = inputs_of(node, 8)
    sides = numbers.real(a, a_scale, a_zero), numbers.real(b, b_scale, b_zero)
    value = numbers.writer.add(node.op_type.removeprefix(_PREFIX), sides, node.output[0])
    numbers.store(value, y_scale, y_zero, node.output[0])


def _of_one(numbers: WholeNumbers, node: Any) -> None:
    """QLinearSigmoid, QLinearLeakyRelu, QLinearSoftmax and the poolings."""
    x, x_scale, x_zero, y_scale, y_zero = inputs_of(node, 5)
    if integer(node, "channels_last"):
        raise Unsupported("channels last")
    kept = attributes(node, "channels_last", "opset")
    kind = node.op_type.removeprefix(_PREFIX)
    value = numbers.writer.add(kind, [numbers.real(x, x_scale, x_zero)], node.output[0], **kept)
    numbers.store(value, y_scale, y_zero, node.output[0])


def _concatenate(numbers: WholeNumbers, node: Any) -> None:
    """QLinearConcat."""
    y_scale, y_zero, *rest = node.input
    parts = [numbers.real(*rest[i : i + 3]) for i in range(0, len(rest), 3)]
    value = numbers.writer.add("Concat", parts, node.output[0], **attributes(node))
    numbers.store(value, y_scale, y_zero, node.output[0])


def _choose(numbers: WholeNumbers, node: Any) -> None:
    """QLinearWhere."""
    condition, x, x_scale, x_zero, y, y_scale, y_zero, z_scale, z_zero = inputs_of(node, 9)
    sides = numbers.real(x, x_scale, x_zero), numbers.real(y, y_scale, y_zero)
    value = numbers.writer.add("Where", [condition, *sides], node.output[0])
    numbers.store(value, z_scale, z_zero, node.output[0])


def _gemm(numbers: WholeNumbers, node: Any) -> None:
    """QGemm: the third matrix is of int32, in the product of the scales."""
    a, a_scale, a_zero, b, b_scale, b_zero, c, y_scale, y_zero = inputs_of(node, 9)
    output, axis = node.output[0], 0 if integer(node, "transB") else 1
    sides = [
        numbers.centred(a, numbers.shift(a_zero)),
        numbers.centred(b, numbers.shift(b_zero, 2, axis)),
        *([numbers.floats(c)] if c else []),
    ]
    kept = attributes(node, "alpha")
    total = numbers.writer.add("Gemm", sides, output, **kept)
    ratio = numbers.binary(
        "Mul", numbers.along(a_scale, None, 0), numbers.along(b_scale, 2, 1), output
    )
    alpha = attributes(node).get("alpha", 1.0)
    if alpha != 1.0:
        ratio = numbers.binary("Mul", ratio, numbers.number(alpha, output), output)
    value = numbers.writer.add("Mul", [total, ratio], output)
    if y_scale:
        numbers.store(value, y_scale, y_zero, output)
    else:
        numbers.writer.rename(value, output)


def _multiply_to_float(numbers: WholeNumbers, node: Any) -> None:
    """MatMulIntegerToFloat."""
    a, b, a_scale, b_scale, a_zero, b_zero, bias = inputs_of(node, 7)
    left = numbers.centred(a, numbers.shift(a_zero, 2, 0))
    _product(numbers, left, a_scale, (b, b_scale, b_zero), bias, node.output[0])


def _multiply_by_range(numbers: WholeNumbers, node: Any) -> None:
    """DynamicQuantizeMatMul."""
    a, b, b_scale, b_zero, bias = inputs_of(node, 5)
    scale, zero = f"{node.output[0]}/scale", f"{node.output[0]}/zero"
    numbers.measure(a, scale, zero)
    steps = numbers.writer.add("Div", [a, scale], a)
    integers = f"{node.output[0]}/integers"
    numbers.round_to(steps, numbers.floats(zero), UINT8, integers)
    left = numbers.centred(integers, numbers.floats(zero))
    _product(numbers, left, scale, (b, b_scale, b_zero), bias, node.output[0])


def _product(
    numbers: WholeNumbers,
    left: str,
    scale: str,
    right: tuple[str, str, str],
    bias: str,
    output: str,
) -> None:
    """A matrix product of integers as real numbers."""
    b, b_scale, b_zero = right
    side = numbers.centred(b, numbers.shift(b_zero, 1, 0))
    total = numbers.writer.add("MatMul", [left, side], output)
    ratio = numbers.binary("Mul", scale, numbers.along(b_scale, 1, 0), output)
    value = numbers.writer.add("Mul", [total, ratio], output)
    if bias:
        value = numbers.writer.add("Add", [value, bias], output)
    numbers.writer.rename(value, output)


REWRITES: Mapping[str, Callable[[WholeNumbers, Any], None]] = {
    **dict.fromkeys(("QLinearAdd", "QLinearMul"), _elementwise),
    **dict.fromkeys(
        (
            "QLinearAveragePool",
            "QLinearGlobalAveragePool",
            "QLinearLeakyRelu",
            "QLinearSigmoid",
            "QLinearSoftmax",
        ),
        _of_one,
    ),
    "QLinearConcat": _concatenate,
    "QLinearWhere": _choose,
    "QGemm": _gemm,
    "MatMulIntegerToFloat": _multiply_to_float,
    "DynamicQuantizeMatMul": _multiply_by_range,
}
