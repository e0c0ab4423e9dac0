"""Layers of a program: its kernels, and inside the delegated parts XNNPACK's own nodes.

A layer is called by its place: `3/aten::mean` is the fourth instruction, `0/5/XNNConv2d` the sixth
node of the part that the first instruction calls. ExecuTorch keeps no names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

from convkit.plugin import LayerInfo
from convkit_executorch.program import Pte, dtype_of, is_constant, is_tensor
from convkit_executorch.xnnpack import BACKEND, DTYPES, DYNAMIC, Graph, Node, Value, graphs

CONVERT = "XNNConvert"
"""Between float and integers; it has no arithmetic of its own."""

HYBRID = "hybrid-int8"
"""Integer weights, activations quantized while the kernel runs."""

_EXPANDS = "dequantize"


def delegated(pte: Pte) -> dict[int, Graph]:
    """XNNPACK's graphs by the number of the delegate.

    Raises:
        ValueError: one is damaged.
    """
    places = [i for i, d in enumerate(pte.plan.delegates) if d.id == BACKEND]
    payloads = [_payload(pte, i) for i in places]
    return dict(zip(places, graphs(payloads), strict=True))


def _payload(pte: Pte, delegate: int) -> bytes:
    index = pte.plan.delegates[delegate].processed.index
    return bytes(pte.program.backend_delegate_data[index].data)


def layers(pte: Pte, parts: dict[int, Graph]) -> tuple[LayerInfo, ...]:
    """Every operator of the method that computes, in execution order. Open axes count with the
    size that the file has in their place.

    Raises:
        ValueError: an instruction refers to what does not exist.
    """
    return tuple(_layers(pte, parts))


def _layers(pte: Pte, parts: dict[int, Graph]) -> Iterator[LayerInfo]:
    plan = pte.plan
    place = -1
    for chain in plan.chains:
        for instruction in chain.instructions:
            place += 1
            call = instruction.instr_args
            kind = type(call).__name__
            if kind == "KernelCall":
                yield _kernel(pte, call, place)
            elif kind == "DelegateCall" and call.delegate_index in parts:
                part = parts[call.delegate_index]
                for number, node in enumerate(part.nodes):
                    yield _node(node, part, [_name(pte, i) for i in call.args], place, number)
            elif kind == "DelegateCall":
                yield _foreign(pte, call, place)


def _name(pte: Pte, value: int) -> str:
    return pte.names.get(value, f"{value}")


def _foreign(pte: Pte, call: Any, place: int) -> LayerInfo:
    """A part whose backend's format is not known here: what it computes in is not, either, nor
    which of its tensors it writes."""
    backend = str(pte.plan.delegates[call.delegate_index].id)
    return LayerInfo(f"{place}/{backend}", backend, compute="unknown")


def _kernel(pte: Pte, call: Any, place: int) -> LayerInfo:
    plan = pte.plan
    operator = plan.operators[call.op_index]
    taken, made = _arguments(operator.name, operator.overload, call.args)
    results = [plan.values[i].val for i in made if is_tensor(plan.values[i].val)]
    values = [plan.values[i].val for i in taken]
    constants = [v for v in values if is_constant(v)]
    compute = dtype_of(results[0]) if results else ""
    if _EXPANDS in operator.name and values and is_tensor(values[0]):
        compute = dtype_of(values[0])  # no arithmetic in float: it belongs to the integers
    return LayerInfo(
        name=f"{place}/{operator.name}",
        op_type=str(operator.name),
        inputs=_names(pte, taken),
        outputs=tuple(_name(pte, i) for i in made),
        macs=_kernel_macs(operator.name, values, results),
        parameter_count=sum(prod(v.sizes) for v in constants),
        compute=compute,
    )


def _names(pte: Pte, places: Sequence[int]) -> tuple[str, ...]:
    """Of activations among values, those inside of lists included."""
    plan = pte.plan
    found: list[int] = []
    for place in places:
        value = plan.values[place].val
        if is_tensor(value):
            found.append(place)
        elif type(value).__name__ in ("TensorList", "OptionalTensorList"):
            found.extend(i for i in value.items if i >= 0)
    return tuple(
        _name(pte, i)
        for i in dict.fromkeys(found)
        if is_tensor(plan.values[i].val) and not is_constant(plan.values[i].val)
    )


def _arguments(
    name: str, overload: str, args: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The values that an operator reads and those that it writes, by its schema; the last argument
    counts as written where torch does not know the operator."""
    import torch

    try:
        schema: Any = torch._C._get_schema(name, overload)
    except RuntimeError:
        return tuple(args[:-1]), tuple(args[-1:])
    pairs = list(zip(schema.arguments, args, strict=False))  # what it returns follows: once more
    made = [v for a, v in pairs if a.alias_info is not None and a.alias_info.is_write]
    return tuple(v for _, v in pairs if v not in made), tuple(dict.fromkeys(made))


def _kernel_macs(name: str, values: Sequence[Any], results: Sequence[Any]) -> int:
    shapes = [tuple(v.sizes) for v in values if is_tensor(v)]
    if not results or len(shapes) < 2:
        return 0
    size = prod(results[0].sizes)
    kind = name.rpartition("::")[2]
    if kind == "convolution":
        flags = [v.bool_val for v in values if type(v).__name__ == "Bool"]
        around = prod(shapes[1][1:])
        return int((prod(shapes[0]) if flags and flags[0] else size) * around)
    if kind in ("mm", "bmm", "linear", "matmul") and shapes[0]:
        return int(size * shapes[0][-1])
    if kind == "addmm" and len(shapes) > 2:
        return int(size * shapes[1][-1])
    return 0


def _node(node: Node, part: Graph, args: Sequence[str], place: int, number: int) -> LayerInfo:
    taken = [part.values[i] for i in node.inputs]
    constants = [v for v in taken if v.data]

    def called(value: int) -> str:
        external = part.values[value].external
        return f"{place}/{value}" if external is None else args[external]

    return LayerInfo(
        name=f"{place}/{number}/{node.kind}",
        op_type=node.kind,
        inputs=tuple(called(i) for i in node.inputs if not part.values[i].data),
        outputs=tuple(called(i) for i in node.outputs),
        macs=_node_macs(node, part.values),
        parameter_count=sum(v.elements for v in constants),
        compute=_compute(node, part.values),
    )


def _compute(node: Node, values: dict[int, Value]) -> str:
    """By the activations: XNNPACK has kernels for operands of one kind only, but for conversions
    and for weights beside activations that are quantized on the way."""
    taken = [values[i] for i in node.inputs]
    made = [values[i] for i in node.outputs]
    if any(value.kind in DYNAMIC for value in taken) and node.kind != CONVERT:
        return HYBRID
    active = [v for v in (*taken, *made) if not v.data] or taken
    kinds = [DTYPES.get(v.kind, v.kind) for v in active]
    integers = [kind for kind in kinds if kind.endswith("int8")]
    if node.kind == CONVERT and integers:
        return integers[0]
    return kinds[-1] if kinds else ""


def _node_macs(node: Node, values: dict[int, Value]) -> int:
    told = node.fields

    def value(field: str) -> Value:
        return values[told[field]]

    if node.kind in ("XNNConv2d", "XNNDepthwiseConv2d"):
        around = told["kernel_height"] * told["kernel_width"] * told["group_input_channels"]
        return int(value("output_id").elements * around)
    if node.kind == "XNNConvTranspose2d":
        around = told["kernel_height"] * told["kernel_width"] * told["group_output_channels"]
        return int(value("input1_id").elements * around)
    if node.kind in ("XNNFullyConnected", "XNNBatchMatrixMultiply"):
        dims = value("input1_id").dims
        return value("output_id").elements * dims[-1] if dims else 0
    if node.kind == "XNNScaledDotProductAttention":
        query, key, held = value("query_id"), value("key_id"), value("value_id")
        pairs = prod(query.dims[:-1]) * key.dims[-2]
        return int(pairs * (query.dims[-1] + held.dims[-1]))
    return 0
