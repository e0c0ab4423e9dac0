"""Make an unflattened program recordable by the legacy exporter, which traces live modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from convkit.errors import ConversionError

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

_CONTROL_FLOW = frozenset({"cond", "while_loop", "map_impl", "scan", "associative_scan"})
_UNFLATTEN_OPSET = 13
_ATTENTION_OPSET = 14
ANY_OPSET = 1000
"""For recordings that do not become ONNX."""


def traceable_module(program: ExportedProgram, opset: int) -> torch.nn.Module:
    """A module with the program's scopes that takes its tensor inputs in order and returns a tuple.

    The tracer knows no symbolic integers and no operator overloads that receive them, so sizes are
    read and used through Python functions, whose traced integers it does know. Operators that the
    opset lacks are spelled out.

    Raises:
        ConversionError: the program branches on values; a trace would keep one branch in silence.
    """
    import torch

    from convkit_torch.reading import flat_tensors
    from convkit_torch.signature import call_arguments

    refuse_control_flow(program, "Use torch.onnx-dynamo.")
    module: Any = torch.export.unflatten(program)
    # The check compares shapes in Python, which a traced shape does not allow.
    module.check_input_constraints = False
    for part in module.modules():
        graph = getattr(part, "graph", None)
        if isinstance(graph, torch.fx.Graph):
            for node in graph.nodes:
                if node.op == "call_function":
                    node.target = tracer_target(node, opset)
            # Submodules of higher-order operators stay plain graph modules.
            finish = part.recompile if isinstance(part, torch.fx.GraphModule) else part.finalize
            finish()
    nested = module.forward

    def forward(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        args, kwargs = call_arguments(program, tensors)
        return flat_tensors(nested(*args, **kwargs))

    # An attribute instead of a wrapping module keeps the scopes free of a level of ours.
    module.forward = forward
    unflattened: torch.nn.Module = module
    return unflattened


def refuse_control_flow(program: ExportedProgram, hint: str) -> None:
    """A trace would keep one branch in silence.

    Raises:
        ConversionError: the program branches on values.
    """
    import torch

    for node in program.graph.nodes:
        name = getattr(node.target, "__name__", "")
        if name in _CONTROL_FLOW and isinstance(node.target, torch._ops.HigherOrderOperator):
            raise ConversionError(
                f"the model has control flow ({name}), which a tracer cannot record", hint=hint
            )


def tracer_target(node: Any, opset: int = ANY_OPSET) -> Callable[..., Any]:
    """What a node is to call while a tracer watches.

    Args:
        opset: of ONNX, whose missing operators are spelled out; all are kept by default.
    """
    import torch

    target: Callable[..., Any] = node.target
    aten = torch.ops.aten
    if not isinstance(target, torch._ops.OpOverload):
        return target
    if target is aten.sym_size.int:
        return torch.Tensor.size
    if target is aten.unflatten.int and opset < _UNFLATTEN_OPSET:
        return _unflatten
    if target is aten.scaled_dot_product_attention.default and opset < _ATTENTION_OPSET:
        return _attention
    if _takes_symbols(node):
        return _python_function(target) or target
    return target


def _takes_symbols(node: Any) -> bool:
    import torch

    symbols = (torch.SymInt, torch.SymFloat)
    return any(isinstance(n.meta.get("val"), symbols) for n in node.all_input_nodes)


def _python_function(target: Any) -> Callable[..., Any] | None:
    """The function that people call for an operator: a tensor's method, or one of the modules."""
    import torch

    schema = target._schema
    name = schema.name.rpartition("::")[2]
    method = bool(schema.arguments) and schema.arguments[0].name == "self"
    holders = (torch.Tensor, torch, torch._C._nn, torch.nn.functional)
    for holder in holders if method else holders[1:]:
        function: Callable[..., Any] | None = getattr(holder, name, None)
        if function is not None:
            return function
    return None


def _unflatten(tensor: torch.Tensor, dim: int, sizes: Any) -> torch.Tensor:
    dim = dim % tensor.dim()
    return tensor.reshape([*tensor.shape[:dim], *sizes, *tensor.shape[dim + 1 :]])


def _attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """softmax(q k^T * scale + mask) v, as torch documents it; there is no dropout at inference."""
    import torch

    if enable_gqa:
        repeats = query.size(-3) // key.size(-3)
        key, value = (t.repeat_interleave(repeats, -3) for t in (key, value))
    scores = query @ key.transpose(-2, -1)
    scores = scores * (query.size(-1) ** -0.5 if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(query.size(-2), key.size(-2), dtype=torch.bool).tril()
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            blocked = torch.full((), float("-inf"), dtype=scores.dtype)
            scores = torch.where(attn_mask, scores, blocked)
        else:
            scores = scores + attn_mask
    return torch.softmax(scores, -1) @ value
