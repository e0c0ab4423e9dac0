"""Whether weights should leave one of their eight bits unused on this processor."""

from __future__ import annotations

import platform
from collections.abc import Collection

_X86 = ("x86_64", "amd64", "i386", "i686", "x86")
_DOT_PRODUCTS = ("avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8")


def reduced_range(
    choice: str, activations: str, weights: str, cpu_features: Collection[str]
) -> tuple[bool, str]:
    """The decision, and why.

    The integer kernels for processors with AVX2 or AVX-512 but without VNNI add two products in 16
    bits, which clip where signed weights use all their range; seven bits cannot clip. Activations
    of either sign meet the same kernels: ONNX Runtime shifts signed ones.

    Args:
        choice: `auto`, `on` or `off`.
        activations, weights: as in `QInt8`.
        cpu_features: empty where unknown.
    """
    risk = _risk(activations, weights, cpu_features)
    if choice == "auto":
        return bool(risk), (
            f"weights use 7 of 8 bits (reduce_range): {risk}"
            if risk
            else "weights use all 8 bits (reduce_range off): sums of products cannot clip here"
        )
    if choice == "off" and risk:
        return False, f"weights use all 8 bits, as asked for, although {risk}"
    return choice == "on", f"reduce_range is {choice}, as asked for"


def _risk(activations: str, weights: str, cpu_features: Collection[str]) -> str:
    """Why sums of products may clip; empty where they cannot."""
    if weights != "QInt8" or "16" in activations or platform.machine().lower() not in _X86:
        return ""
    if not cpu_features:
        return "whether this processor has VNNI is unknown, and without it sums of products clip"
    if any(name in cpu_features for name in _DOT_PRODUCTS):
        return ""
    return "without VNNI, sums of products clip on this processor"
