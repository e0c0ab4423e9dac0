"""Weights of Linear, LSTM and GRU as torch's packed integers, called in place of the float ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from convkit_torch.flat import constant

if TYPE_CHECKING:
    import torch

_LARGEST = 127
_TINY = 1e-12
_ARGUMENTS = 9
"""Of `aten.lstm.input` and `aten.gru.input`: input, state, weights, and six settings."""


@dataclass(frozen=True)
class Packing:
    """How weights become integers.

    Attributes:
        per_channel: one scale per output channel, else one per matrix; symmetric either way.
        reduce_range: activations use 7 of 8 bits, so that sums of two products fit into 16 bits.
    """

    per_channel: bool
    reduce_range: bool


def quantize(
    module: torch.fx.GraphModule, packing: Packing, spared: frozenset[str]
) -> tuple[str, ...]:
    """Let the nodes that multiply by constant matrices do so in integers, in place.

    Activations are quantized while the model runs, one scale per tensor. What a Linear layer is in
    a decomposed program (`addmm`, `mm`, `bmm`, `matmul` by a constant) counts as one. An LSTM or
    GRU without biases, or with a projection, has no integer kernel and stays in float.

    Args:
        spared: names of nodes that stay in float.

    Returns:
        Names of the nodes that compute in integers now.
    """
    done = []
    for node in list(module.graph.nodes):
        if node.op == "call_function" and node.name not in spared and _swap(module, node, packing):
            done.append(node.name)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    _drop_unread(module)
    module.recompile()
    return tuple(done)


def quantizable(module: torch.fx.GraphModule) -> frozenset[str]:
    """Names of the nodes that `quantize` would change."""
    return frozenset(
        node.name
        for node in module.graph.nodes
        if node.op == "call_function"
        and (_linear(module, node) is not None or _cells(module, node) is not None)
    )


def _swap(module: Any, node: Any, packing: Packing) -> bool:
    import torch

    linear = _linear(module, node)
    if linear is not None:
        operand, weight, bias = linear
        packed = _packed(weight, bias, packing)
        target: Callable[..., Any] = torch.ops.quantized.linear_dynamic
        with module.graph.inserting_before(node):
            held = _hold(module, f"{node.name}_packed", packed)
            node.args, node.kwargs = (operand, held, packing.reduce_range), {}
        node.target = target
        return True
    cells = _cells(module, node)
    if cells is None:
        return False
    is_lstm = node.target is torch.ops.aten.lstm.input
    with module.graph.inserting_before(node):
        held = [
            _hold(module, f"{node.name}_cell_{number}", _cell(weights, packing))
            for number, weights in enumerate(cells)
        ]
        node.args = (node.args[0], node.args[1], held, *node.args[3:])
    if is_lstm:
        node.kwargs = {"dtype": torch.qint8, "use_dynamic": True}
        node.target = torch.ops.aten.quantized_lstm.input
    else:
        node.target = torch.ops.aten.quantized_gru.input
    return True


def _hold(module: Any, name: str, value: Any) -> Any:
    setattr(module, name, value)
    return module.graph.create_node("get_attr", name, name=name)


def _linear(module: Any, node: Any) -> tuple[Any, torch.Tensor, torch.Tensor | None] | None:
    """Operand, weight (outputs x inputs) and bias, where a node is a float32 Linear layer."""
    import torch

    aten = torch.ops.aten
    args = node.args
    if node.target is aten.linear.default:
        operand, matrix, bias = args[0], args[1], args[2] if len(args) > 2 else None
    elif node.target is aten.addmm.default and not node.kwargs:
        bias, operand, matrix = args
    elif node.target in (aten.mm.default, aten.matmul.default, aten.bmm.default):
        (operand, matrix), bias = args, None
    else:
        return None
    weight = constant(module, matrix)
    if weight is not None and weight.dim() == 3 and weight.stride(0) == 0:
        weight = weight[0]  # one matrix, spread over a batch
    if weight is None or weight.dim() != 2 or weight.dtype != torch.float32:
        return None
    if node.target is not aten.linear.default:
        weight = weight.t()
    offsets = None if bias is None else constant(module, bias)
    if bias is not None and (offsets is None or offsets.shape != weight.shape[:1]):
        return None
    value = operand.meta.get("val") if isinstance(operand, torch.fx.Node) else None
    if not isinstance(value, torch.Tensor) or value.dtype != torch.float32 or value.dim() < 1:
        return None
    return operand, weight, offsets


def _cells(module: Any, node: Any) -> list[list[torch.Tensor]] | None:
    """Of each layer and direction: weights of input and state, biases of input and state."""
    import torch

    aten = torch.ops.aten
    if node.target not in (aten.lstm.input, aten.gru.input) or len(node.args) != _ARGUMENTS:
        return None
    weights = [constant(module, weight) for weight in node.args[2]]
    has_biases, projected = node.args[3], len(node.args[2]) % 4
    if not has_biases or projected or any(w is None or w.dtype != torch.float32 for w in weights):
        return None
    found = [w for w in weights if w is not None]
    groups = [found[i : i + 4] for i in range(0, len(found), 4)]
    shaped = all([w.dim() for w in group] == [2, 2, 1, 1] for group in groups)
    return groups if shaped else None


def _cell(weights: Sequence[torch.Tensor], packing: Packing) -> Any:
    import torch

    of_input, of_state, input_bias, state_bias = weights
    return torch.ops.quantized.make_quantized_cell_params_dynamic(
        _packed(of_input, input_bias, packing),
        _packed(of_state, state_bias, packing),
        input_bias.contiguous(),
        state_bias.contiguous(),
        packing.reduce_range,
    )


def _packed(weight: torch.Tensor, bias: torch.Tensor | None, packing: Packing) -> Any:
    """`LinearPackedParamsBase`: int8 weights, symmetric about zero, and the float bias."""
    import torch

    weight = weight.contiguous()
    if packing.per_channel:
        scales = weight.abs().amax(1).clamp_min(_TINY) / _LARGEST
        zeros = torch.zeros(len(weight), dtype=torch.int64)
        integers = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
    else:
        scale = float(weight.abs().amax().clamp_min(_TINY)) / _LARGEST
        integers = torch.quantize_per_tensor(weight, scale, 0, torch.qint8)
    offsets = None if bias is None else bias.detach().contiguous()
    return torch.ops.quantized.linear_prepack(integers, offsets)


def _drop_unread(module: Any) -> None:
    """Forget float weights that no node reads any more."""
    read = {str(node.target) for node in module.graph.nodes if node.op == "get_attr"}
    for name in [n for n, _ in (*module.named_buffers(), *module.named_parameters())]:
        if name not in read:
            delattr(module, name)
