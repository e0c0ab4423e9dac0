"""The true precision of an IR."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from convkit_openvino import dtypes

if TYPE_CHECKING:
    from convkit.plugin import LayerInfo
    from convkit_openvino.ir import Ir

_FEW_BITS = 4


def parameter_bytes(ir: Ir) -> dict[str, int]:
    """dtype to bytes of constants; a stretch of the `.bin` that several share counts once."""
    seen = {(c.offset, c.size, c.element_type) for c in ir.constants}
    sizes: Counter[str] = Counter()
    for _, size, element_type in seen:
        sizes[dtypes.numpy_name(element_type)] += size
    return {name: size for name, size in sorted(sizes.items()) if size}


def true_precision(
    layers: Sequence[LayerInfo], sizes: Mapping[str, int], weights: Mapping[str, int]
) -> str:
    """What the file really is.

    `int8`: more than half of the multiply-accumulates (of the operators with weights, where there
    are none) take quantized activations and quantized weights.
    `int8-dynamic`: more than half take activations that the graph itself scales at run time.
    `int8-weights`, `int4-weights`: most weights are stored as integers and expanded to float;
    `int4-weights` where most of those have four bits or fewer.
    `fp16`: most bytes of float weights are half. `fp32`: everything else.

    Args:
        sizes: dtype to bytes of constants.
        weights: element type to number of elements, of constants that are reals.
    """
    arithmetic = [x for x in layers if x.macs] or [x for x in layers if x.parameter_count]
    total = sum(max(x.macs, 1) for x in arithmetic)
    for compute, precision in (("int8", "int8"), ("dynamic-int8", "int8-dynamic")):
        integer = sum(max(x.macs, 1) for x in arithmetic if x.compute == compute)
        if total and 2 * integer > total:
            return precision
    compressed = {kind: count for kind, count in weights.items() if kind in dtypes.LOW_BIT}
    if 2 * sum(compressed.values()) > sum(weights.values()):
        few = sum(n for kind, n in compressed.items() if (dtypes.bits(kind) or 8) <= _FEW_BITS)
        return "int4-weights" if 2 * few > sum(compressed.values()) else "int8-weights"
    half = sizes.get("float16", 0) + sizes.get("bfloat16", 0)
    return "fp16" if half > sizes.get("float32", 0) + sizes.get("float64", 0) else "fp32"
