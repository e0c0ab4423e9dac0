"""Operators taken apart the way the runtimes take them apart.

What is one operator in torch is several in the files that are quantized, each with a result of its
own that gets a scale: SiLU becomes Sigmoid and Mul, attention two products around a Softmax. Nodes
are written into a new graph one by one, so that all other nodes keep their names; a run of
torch's own decompositions would rename them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

Emit = Callable[..., Any]
"""`emit(operator, *arguments)` adds a call to the graph and answers its result."""


def expansions() -> Mapping[str, Callable[..., Any]]:
    """By the operator's name without overload (`aten.silu`): a function of `emit` and of the
    operator's own arguments, which emits the parts and answers the result."""
    return {
        "aten.silu": _silu,
        "aten.hardsigmoid": _hard_sigmoid,
        "aten.hardswish": _hard_swish,
        "aten.mish": _mish,
        "aten.gelu": _gelu,
        "aten.rms_norm": _rms_norm,
        "aten.scaled_dot_product_attention": _attention,
    }


def _aten() -> Any:
    import torch

    return torch.ops.aten


def _silu(emit: Emit, x: Any) -> Any:
    return emit(_aten().mul.Tensor, x, emit(_aten().sigmoid.default, x))


def _hard_sigmoid(emit: Emit, x: Any) -> Any:
    aten = _aten()
    return emit(aten.div.Tensor, emit(aten.clamp.default, emit(aten.add.Tensor, x, 3.0), 0, 6), 6.0)


def _hard_swish(emit: Emit, x: Any) -> Any:
    return emit(_aten().mul.Tensor, x, _hard_sigmoid(emit, x))


def _mish(emit: Emit, x: Any) -> Any:
    aten = _aten()
    return emit(aten.mul.Tensor, x, emit(aten.tanh.default, emit(aten.softplus.default, x)))


def _gelu(emit: Emit, x: Any, *, approximate: str = "none") -> Any:
    """In the order in which torch's ONNX exporter writes it where the opset has no Gelu."""
    aten = _aten()
    if approximate == "tanh":
        cubed = emit(aten.mul.Tensor, emit(aten.pow.Tensor_Scalar, x, 3), 0.044715)
        inner = emit(aten.mul.Tensor, emit(aten.add.Tensor, x, cubed), math.sqrt(2 / math.pi))
        bent = emit(aten.tanh.default, inner)
    else:
        bent = emit(aten.erf.default, emit(aten.div.Tensor, x, math.sqrt(2)))
    product = emit(aten.mul.Tensor, x, emit(aten.add.Tensor, bent, 1.0))
    return emit(aten.mul.Tensor, product, 0.5)


def _rms_norm(
    emit: Emit, x: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None
) -> Any:
    aten = _aten()
    axes = list(range(-len(normalized_shape), 0))
    power = emit(aten.mean.dim, emit(aten.pow.Tensor_Scalar, x, 2), axes, True)
    # torch's own default is the machine epsilon of the type
    raised = emit(aten.add.Tensor, power, 2.0**-23 if eps is None else eps)
    scaled = emit(aten.mul.Tensor, x, emit(aten.rsqrt.default, raised))
    return scaled if weight is None else emit(aten.mul.Tensor, scaled, weight)


def _attention(
    emit: Emit,
    query: Any,
    key: Any,
    value: Any,
    mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """As torch itself and its ONNX exporter do it: each factor is scaled by the root."""
    aten = _aten()
    if enable_gqa:
        key, value = emit(repeated_heads, query, key), emit(repeated_heads, query, value)
    turned = emit(aten.transpose.int, key, -2, -1)
    root = emit(scale_root, query) if scale is None else math.sqrt(scale)
    scores = emit(
        aten.matmul.default,
        emit(aten.mul.Tensor, query, root),
        emit(aten.mul.Tensor, turned, root),
    )
    if is_causal:
        scores = emit(causal, scores)
    elif mask is not None:
        scores = emit(masked, scores, mask)
    return emit(aten.matmul.default, emit(aten.softmax.int, scores, -1), value)


def scale_root(query: torch.Tensor) -> float:
    """Root of the scale of attention that is not told."""
    return math.pow(query.shape[-1], -0.25)


def repeated_heads(query: torch.Tensor, few: torch.Tensor) -> torch.Tensor:
    """Each head of keys or values for the heads of the query that share it."""
    return few.repeat_interleave(query.shape[-3] // few.shape[-3], dim=-3)


def causal(scores: torch.Tensor) -> torch.Tensor:
    """Nothing looks at what comes later."""
    import torch

    seen = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    return scores.masked_fill(~seen, -math.inf)


def masked(scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """A mask of truths says what is seen, one of numbers is added."""
    import torch

    return scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
