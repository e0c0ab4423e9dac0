"""Which operands of an operator are weights, and what a batch norm makes of those before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from convkit_torch.layers import op_type

if TYPE_CHECKING:
    import torch

NORMS = ("aten.batch_norm", "aten._native_batch_norm_legit_no_training")
RECURRENT = ("aten.lstm", "aten.gru", "aten.rnn_tanh", "aten.rnn_relu")
"""Operators that take a list of weights, in which they are not linear."""


@dataclass(frozen=True)
class Linear:
    """How an operator takes a weight that it is linear in.

    Attributes:
        weight: the position of the weight among the arguments.
        axis: that of the weight's output channels; None where runtimes give all one scale.
        bias: the position of what is added; -1 where there is nothing.
    """

    weight: int
    axis: int | None
    bias: int = -1


LINEAR: Mapping[str, tuple[Linear, ...]] = {
    **{f"aten.conv{n}d": (Linear(1, 0, 2),) for n in (1, 2, 3)},
    **{f"aten.conv_transpose{n}d": (Linear(1, 1, 2),) for n in (1, 2, 3)},
    "aten.linear": (Linear(1, 0, 2),),
    "aten.matmul": (Linear(1, -1), Linear(0, -2)),
    "aten.mm": (Linear(1, -1), Linear(0, -2)),
    "aten.bmm": (Linear(1, -1), Linear(0, -2)),
    "aten.addmm": (Linear(2, -1, 0), Linear(1, -2, 0)),
    "aten.baddbmm": (Linear(2, -1, 0), Linear(1, -2, 0)),
    "aten.embedding": (Linear(0, None),),
}


def linear_form(node: Any, known: Mapping[Any, Any]) -> Linear | None:
    """How a node takes its weight; None where it has none.

    Args:
        known: values of the nodes that do not depend on the model's inputs.
    """
    for form in LINEAR.get(op_type(node.target), ()):
        operand = node.args[form.weight] if form.weight < len(node.args) else None
        if rank(known.get(operand)) > 1 and known[operand].is_floating_point():
            return form
    return None


def change(
    node: Any, form: Linear, args: Sequence[Any], kwargs: Mapping[str, Any], error: Any
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments with which an operator computes what an error of its weight changes: the error in
    the weight's place, and nothing added."""
    changed, named = list(args), dict(kwargs)
    changed[form.weight] = error
    if form.bias == 0:
        named["beta"] = 0
    elif form.bias > 0:
        changed[form.bias : form.bias + 1] = [None] * (form.bias < len(changed))
        named.pop("bias", None)
    if op_type(node.target) == "aten.embedding":
        changed, named = changed[:2], {}  # the rest concerns training
    return tuple(changed), named


def folds(node: Any, known: Mapping[Any, Any]) -> bool:
    """Whether a node is a convolution (or linear) whose only use is a batch norm that all runtimes
    fold into it."""
    kind = op_type(node.target)
    if not kind.startswith(("aten.conv", "aten.linear")) or len(node.users) != 1:
        return False
    norm = next(iter(node.users))
    if norm.op != "call_function" or op_type(norm.target) not in NORMS or norm.args[0] is not node:
        return False
    if linear_form(node, known) is None or node.kwargs or norm.kwargs:
        return False
    operands = [*norm.all_input_nodes, *(a for a in node.args[2:3] if a is not None)]
    if any(n is not node and n not in known for n in operands):
        return False
    if kind == "aten.linear":
        return rank(node.meta["val"]) == 2  # else the norm's channels are others
    grouped = kind.startswith("aten.conv_transpose") and node.args[6:7] not in ((), (1,))
    trains = op_type(norm.target) == "aten.batch_norm" and bool(norm.args[5])
    return not grouped and not trains


def folded(
    node: Any, norm: Any, known: Mapping[Any, Any]
) -> tuple[torch.Tensor, torch.Tensor, int | None]:
    """Weight and bias of the convolution that does both, and the axis of its channels."""
    import torch

    def value(argument: Any) -> Any:
        return known[argument] if isinstance(argument, torch.fx.Node) else argument

    gain, offset, mean, variance = (value(a) for a in norm.args[1:5])
    eps = norm.args[7 if op_type(norm.target) == "aten.batch_norm" else 6]
    bias = value(node.args[2]) if len(node.args) > 2 else None
    factor = torch.rsqrt(variance + eps)
    if gain is not None:
        factor = factor * gain
    shift = ((0.0 if bias is None else bias) - mean) * factor
    if offset is not None:
        shift = shift + offset
    weight, axis = value(node.args[1]), LINEAR[op_type(node.target)][0].axis
    sizes = [1] * weight.dim()
    sizes[axis or 0] = -1
    return weight * factor.reshape(sizes), shift, axis


def rank(value: Any) -> int:
    """Number of axes of a tensor; -1 of anything else."""
    import torch

    return value.dim() if isinstance(value, torch.Tensor) else -1
