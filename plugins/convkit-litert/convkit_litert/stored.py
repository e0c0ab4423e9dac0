"""What the numbers in a TFLite file's tensors stand for.

Tensors are `TensorT` of the schema.
"""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def _widths() -> dict[int, int]:
    """Bits of the types that stand for real numbers in fewer than 32, and of biases."""
    from ai_edge_litert.schema_py_generated import TensorType as Kind

    wide = {Kind.INT32: 32, Kind.INT64: 64}
    half = {Kind.INT16: 16, Kind.FLOAT16: 16, Kind.BFLOAT16: 16}
    return {Kind.INT2: 2, Kind.INT4: 4, Kind.INT8: 8, Kind.UINT8: 8, **half, **wide}


@cache
def _halves() -> dict[int, Any]:
    """numpy's types of half precision."""
    import ml_dtypes
    import numpy as np
    from ai_edge_litert.schema_py_generated import TensorType as Kind

    return {Kind.FLOAT16: np.float16, Kind.BFLOAT16: ml_dtypes.bfloat16}


def width(tensor: Any) -> int:
    """Bits of one of its numbers; of a type of half precision or of integers."""
    return _widths()[tensor.type]


def is_half(kind: int | None) -> bool:
    """Whether a type is float16 or bfloat16."""
    return kind in _halves()


def is_integer(tensor: Any) -> bool:
    """Whether it holds integers that stand for real numbers."""
    quantization = tensor.quantization
    if quantization is None or quantization.scale is None or not len(quantization.scale):
        return False
    return tensor.type in _widths() and not is_half(tensor.type)


def is_narrow(tensor: Any) -> bool:
    """Whether it holds real numbers in another way than as float32."""
    return is_half(tensor.type) or is_integer(tensor)


def limits(kind: int) -> tuple[int, int]:
    """The lowest and the highest integer of a type."""
    bits = _widths()[kind]
    if _unsigned(kind):
        return 0, 2**bits - 1
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def zero_points(tensor: Any) -> Any:
    """One for each scale."""
    import numpy as np

    given = tensor.quantization.zeroPoint
    shape = (len(tensor.quantization.scale),)
    if given is None or not len(given):
        return np.zeros(shape, np.int64)
    return np.broadcast_to(np.asarray(given), shape)


def values(tensor: Any, data: Any) -> Any:
    """The numbers that a constant stands for, in float32.

    Args:
        data: its bytes.
    """
    import numpy as np

    raw = np.frombuffer(memoryview(data).cast("B"), np.uint8)
    shape = [int(d) for d in tensor.shape] if tensor.shape is not None else []
    if is_half(tensor.type):
        return raw.view(_halves()[tensor.type]).astype(np.float32).reshape(shape)
    bits = width(tensor)
    if bits < 8:
        whole = _unpacked(raw, bits)[: int(np.prod(shape))]
    else:
        whole = raw.view(f"<{'u' if _unsigned(tensor.type) else 'i'}{bits // 8}")
    whole = whole.reshape(shape)
    scales, zeros = np.asarray(tensor.quantization.scale, np.float64), zero_points(tensor)
    if len(scales) > 1:
        lanes = [1] * len(shape)
        lanes[tensor.quantization.quantizedDimension] = -1
        scales, zeros = scales.reshape(lanes), zeros.reshape(lanes)
    return ((whole - zeros) * scales).astype(np.float32)


def _unsigned(kind: int) -> bool:
    from ai_edge_litert.schema_py_generated import TensorType

    return bool(kind == TensorType.UINT8)


def _unpacked(raw: Any, bits: int) -> Any:
    """Signed integers of fewer than eight bits, the first in the lowest."""
    import numpy as np

    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    parts = (raw[:, None] >> shifts & (2**bits - 1)).astype(np.int16).ravel()
    return np.where(parts >= 2 ** (bits - 1), parts - 2**bits, parts)
