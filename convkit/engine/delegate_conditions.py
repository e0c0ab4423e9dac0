"""The limits that a delegate's rule may set, each a function of an operator and the rule's value.

`convkit.plugin.delegate_rules.CONDITIONS` lists them with what they mean. What a file leaves open
(the elements of a large constant, an attribute that an old file lacks) is taken to be met.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from convkit.delegates import Operand, Operation, Reason


def activations(op: Operation) -> tuple[Operand, ...]:
    """What flows through an operator: operands that are no constants, and results."""
    return (*(x for x in op.inputs if x is not None and not x.constant), *op.outputs)


def holds(op: Operation, name: str, value: Any) -> bool:
    """Whether an operator meets a condition."""
    return _CHECKS[name](op, value)


def reason_of(name: str) -> Reason:
    """What it means that a condition is not met."""
    return _REASONS.get(name, "limit")


def _given(op: Operation) -> list[Operand]:
    return [operand for operand in op.inputs if operand is not None]


def _operands(op: Operation, places: str) -> list[Operand]:
    """The operands at places, without those that are left out."""
    found = [op.inputs[i] for i in map(int, places.split()) if i < len(op.inputs)]
    return [operand for operand in found if operand is not None]


def _first(op: Operation) -> Operand | None:
    return next(iter(_given(op)), None)


def _flowing(op: Operation) -> Operand | None:
    return next((x for x in _given(op) if not x.constant), None)


def _number(text: str) -> float:
    return float({"true": "1", "false": "0"}.get(text.lower(), text))


def _set(op: Operation, names: str) -> list[bool]:
    return [bool(op.attributes.get(name, 0)) for name in names.split()]


def _within(count: int, limits: str) -> bool:
    low, _, high = limits.partition("-")
    return int(low) <= count <= int(high or low)


def _between(ratio: float, limits: str) -> bool:
    low, _, high = limits.partition("..")
    return float(low) <= ratio <= float(high)


def _axes(op: Operation, place: str) -> tuple[set[int], int] | None:
    """Constant axes, counted from the front, and how many the tensor has."""
    named = _operands(op, place)
    tensor = next((x for x in _given(op) if not x.constant), None)
    if not named or tensor is None or not named[0].values or not tensor.shape:
        return None
    rank = len(tensor.shape)
    return {axis % rank for axis in named[0].values}, rank


def _is_vector(shape: Sequence[int | None]) -> bool:
    return all(size == 1 for size in shape[:-1])


def _activation(op: Operation, value: str) -> bool:
    return str(op.attributes.get("fused_activation_function", "NONE")) in value.split()


def _above(op: Operation, value: str) -> bool:
    name, _, least = value.partition("=")
    return float(op.attributes.get(name, float("inf"))) > float(least)


def _axes_are(op: Operation, value: str) -> bool:
    place, _, sets = value.partition(":")
    found = _axes(op, place)
    allowed = [{int(axis) for axis in one.split(",")} for one in sets.split()]
    return found is None or found[0] in allowed


def _broadcast(op: Operation, value: bool) -> bool:
    shapes = [operand.shape[::-1] for operand in _given(op)[:2]]
    pairs = zip(*shapes, strict=False)
    return not value or all(a == b or 1 in (a, b) or None in (a, b) for a, b in pairs)


def _equal(op: Operation, value: str) -> bool:
    return len({op.attributes.get(name) for name in value.split()}) <= 1


def _fixed(op: Operation, value: str) -> bool:
    name, _, wanted = value.partition("=")
    found = op.attributes.get(name)
    if found is None or isinstance(found, str):
        return found in (None, wanted)
    return float(found) == _number(wanted)


def _hybrid(op: Operation, value: bool) -> bool:
    tensor = _flowing(op)
    floats = tensor is not None and tensor.dtype.startswith("float")
    return value or not floats or not any(x.constant and x.channels for x in _given(op))


def _input_dtypes(op: Operation, value: str) -> bool:
    tensor = _flowing(op) or _first(op)
    return tensor is None or tensor.dtype in value.split()


def _max_elements(op: Operation, value: int) -> bool:
    tensor, count = _first(op), 1
    for size in tensor.shape if tensor else ():
        count *= size or 1
    return count <= value


def _multiple(op: Operation, value: str) -> bool:
    place, _, factor = value.partition(":")
    found, tensor = _axes(op, place), _flowing(op)
    if found is None or tensor is None or found[1] - 1 not in found[0]:
        return True
    return (tensor.shape[-1] or 0) % int(factor) == 0


def _padding_only(op: Operation, value: bool) -> bool:
    constants = [operand for operand in _given(op) if operand.constant]
    return not value or not constants or len(_given(op)) == 2


def _product_ratio(op: Operation, value: str) -> bool:
    scales = [x.scale for x in (*_given(op)[:2], *op.outputs[:1]) if x.scale]
    return len(scales) != 3 or _between(scales[0] * scales[1] / scales[2], value)


def _ranks(op: Operation, value: str) -> bool:
    tensor = _flowing(op) or _first(op)
    return tensor is None or str(len(tensor.shape)) in value.split()


def _runtime_inputs(op: Operation, value: str) -> bool:
    return _within(sum(not operand.constant for operand in _given(op)), value)


def _scale_ratio(op: Operation, value: str) -> bool:
    scale = op.outputs[0].scale if op.outputs else None
    ratios = [x.scale / scale for x in _given(op) if x.scale and scale]
    return all(_between(ratio, value) for ratio in ratios)


def _spared_axes(op: Operation, value: str) -> bool:
    place, _, axis = value.partition(":")
    found = _axes(op, place)
    return found is None or int(axis) not in found[0]


def _spared_attribute(op: Operation, value: str) -> bool:
    axis = op.attributes.get(value)
    rank = len(op.outputs[0].shape) if op.outputs else 0
    return not isinstance(axis, int) or not rank or axis % rank != 0


def _spared_padding(op: Operation, value: str) -> bool:
    place, _, axis = value.partition(":")
    paddings = [x.values[2 * int(axis) : 2 * int(axis) + 2] for x in _operands(op, place)]
    return not any(amount for pair in paddings for amount in pair)


def _unit_pool(op: Operation, value: bool) -> bool:
    def pair(what: str) -> tuple[Any, ...]:
        return tuple(op.attributes.get(name, 1) for name in what.split())

    unit = pair("filter_height filter_width") == (1, 1)
    return value or not unit or pair("stride_h stride_w") == (1, 1)


_CHECKS: Mapping[str, Callable[[Operation, Any], bool]] = {
    "above": _above,
    "activation": _activation,
    "axes": _axes_are,
    "bias": lambda op, value: (len(op.inputs) > 2 and op.inputs[2] is not None) or not value,
    "broadcast": _broadcast,
    "constant": lambda op, value: all(operand.constant for operand in _operands(op, value)),
    "equal": _equal,
    "exclusive": lambda op, value: sum(_set(op, value)) <= 1,
    "fixed": _fixed,
    "hybrid": _hybrid,
    "input_dtypes": _input_dtypes,
    "inputs": lambda op, value: _within(len(_given(op)), value),
    "max_elements": _max_elements,
    "max_rank": lambda op, value: all(len(x.shape) <= value for x in activations(op)),
    "multiple": _multiple,
    "non_negative": lambda op, value: all(v >= 0 for x in _operands(op, value) for v in x.values),
    "ones": lambda op, value: all(v == 1 for x in _operands(op, value) for v in x.values),
    "output_dtypes": lambda op, value: not op.outputs or op.outputs[0].dtype in value.split(),
    "outputs": lambda op, value: _within(len(op.outputs), value),
    "padding_only": _padding_only,
    "per_tensor": lambda op, value: not value or all(x.channels <= 1 for x in activations(op)),
    "positive": lambda op, value: all(v > 0 for x in _operands(op, value) for v in x.values),
    "product_ratio": _product_ratio,
    "ranks": _ranks,
    "runtime": lambda op, value: not any(operand.constant for operand in _operands(op, value)),
    "runtime_inputs": _runtime_inputs,
    "same_dtypes": lambda op, value: not value or len({x.dtype for x in activations(op)}) <= 1,
    "scalar_output": lambda op, value: value or all(x.shape for x in op.outputs),
    "scale_ratio": _scale_ratio,
    "spared_attribute": _spared_attribute,
    "spared_axes": _spared_axes,
    "spared_padding": _spared_padding,
    "symmetric": lambda op, value: not any(x.zero_point for x in _operands(op, value)),
    "unit_pool": _unit_pool,
    "vector": lambda op, value: all(_is_vector(x.shape) for x in _operands(op, value)),
    "vector_output": lambda op, value: not value or all(_is_vector(x.shape) for x in op.outputs),
    "zero": lambda op, value: not any(_set(op, value)),
}

CHECKED = frozenset(_CHECKS)
"""The names of all conditions."""

_REASONS: Mapping[str, Reason] = {
    "hybrid": "dtype",
    "input_dtypes": "dtype",
    "max_rank": "rank",
    "output_dtypes": "dtype",
    "ranks": "rank",
    "same_dtypes": "dtype",
}
