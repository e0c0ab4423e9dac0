"""Layers of an exported program: one per graph node that computes something."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from convkit.plugin import LayerInfo
from convkit_torch.signature import dtype_name

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def program_layers(program: ExportedProgram) -> tuple[LayerInfo, ...]:
    """Layers in execution order; symbolic dimensions count as 1 in multiply-accumulates."""
    constants = {
        spec.arg.name
        for spec in program.graph_signature.input_specs
        if spec.kind.name in ("PARAMETER", "BUFFER", "CONSTANT_TENSOR")
    }
    return tuple(
        _layer(node, constants) for node in program.graph.nodes if node.op == "call_function"
    )


def _layer(node: Any, constants: set[str]) -> LayerInfo:
    operands = [n for n in node.all_input_nodes if n.name in constants]
    value = next(_leaves(node), None)
    return LayerInfo(
        name=node.name,
        op_type=op_type(node.target),
        inputs=tuple(n.name for n in node.all_input_nodes if n.name not in constants),
        outputs=(node.name,),
        macs=_macs(node),
        parameter_count=sum(_count(n.meta["val"].shape) for n in operands),
        compute=dtype_name(value.dtype) if value is not None else "",
        scope=scope(node),
    )


def scope(node: Any) -> str:
    """Path of the module that a node came from."""
    stack = node.meta.get("nn_module_stack") or {}
    return str(list(stack.values())[-1][0]) if stack else ""


def op_type(target: Any) -> str:
    """`aten.conv2d` for the overload `aten.conv2d.default`; a plain function's own name."""
    import torch

    if isinstance(target, torch._ops.OpOverload):
        return str(target.overloadpacket)
    return str(getattr(target, "__name__", target))


def _leaves(node: Any) -> Iterator[Any]:
    import torch
    from torch.utils import _pytree as pytree

    for leaf in pytree.tree_leaves(node.meta.get("val")):
        if isinstance(leaf, torch.Tensor):
            yield leaf


def _count(shape: Any) -> int:
    return prod(d if isinstance(d, int) else 1 for d in shape)


def _shape(argument: Any) -> Any:
    return getattr(getattr(argument, "meta", {}).get("val"), "shape", ())


def _macs(node: Any) -> int:
    """Multiply-accumulates from the fake tensors' shapes."""
    kind = op_type(node.target).removeprefix("aten.")
    shapes = [_shape(argument) for argument in node.args[:3]]
    out = next(_leaves(node), None)
    if out is None:
        return 0
    matrices: list[Any] = []
    if len(node.args) > 2 and isinstance(node.args[2], list | tuple):
        matrices = [_shape(argument) for argument in node.args[2]]
    return multiply_accumulates(kind, shapes, out.shape, matrices)


def multiply_accumulates(
    kind: str, shapes: Sequence[Any], result: Any, matrices: Sequence[Any] = ()
) -> int:
    """Of one call of an operator.

    Args:
        kind: its name, as in `conv2d`.
        shapes: of its first three arguments, empty for those that are no tensors.
        result: the shape of its first result.
        matrices: shapes of the weights of a recurrent operator.
    """
    size = _count(result)
    if kind.startswith("conv_transpose"):
        return _count(shapes[0]) * _count(shapes[1][1:])
    if kind.startswith("conv"):
        return size * _count(shapes[1][1:])
    if kind in ("linear", "linear_dynamic", "mm", "bmm", "matmul") and shapes[0]:
        return size * _count(shapes[0][-1:])
    if kind == "addmm":
        return size * _count(shapes[1][-1:])
    if kind in ("lstm", "gru"):
        return _count(shapes[0][:2]) * sum(_count(w) for w in matrices if len(w) == 2)
    if "scaled_dot_product" in kind:
        query, key, value = shapes
        return _count(query[:-1]) * _count(key[-2:-1]) * (_count(query[-1:]) + _count(value[-1:]))
    return 0
