"""OpenVINO's element types: numpy's names for them, and their widths."""

from __future__ import annotations

# Spelling in `element_type` to numpy's name and bits per element. Types that numpy does not have
# keep the name that the field uses.
_TYPES = {
    "f64": ("float64", 64),
    "f32": ("float32", 32),
    "f16": ("float16", 16),
    "bf16": ("bfloat16", 16),
    "f8e4m3": ("float8_e4m3fn", 8),
    "f8e5m2": ("float8_e5m2", 8),
    "f8e8m0": ("float8_e8m0fnu", 8),
    "f4e2m1": ("float4_e2m1fn", 4),
    "nf4": ("nf4", 4),
    "i64": ("int64", 64),
    "i32": ("int32", 32),
    "i16": ("int16", 16),
    "i8": ("int8", 8),
    "i4": ("int4", 4),
    "i2": ("int2", 2),
    "u64": ("uint64", 64),
    "u32": ("uint32", 32),
    "u16": ("uint16", 16),
    "u8": ("uint8", 8),
    "u6": ("uint6", 6),
    "u4": ("uint4", 4),
    "u3": ("uint3", 3),
    "u2": ("uint2", 2),
    "u1": ("uint1", 1),
    "boolean": ("bool", 8),
    "string": ("object", 0),
}
# The `precision` of a port is spelled in capitals, floats in the way of older versions.
_PORTS = {
    "FP64": "f64",
    "FP32": "f32",
    "FP16": "f16",
    "BF16": "bf16",
    "BOOL": "boolean",
    "BIN": "u1",
}

FOREIGN = frozenset({"bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu"})
"""Types of whole bytes that numpy itself does not know."""

LOW_BIT = frozenset({"i8", "u8", "i4", "u4", "i2", "u2", "u3", "u6"})
"""Integer types that weights are compressed to."""

FLOATS = frozenset({"float64", "float32", "float16", "bfloat16"})
"""numpy's names of the types that arithmetic is done in."""


def numpy_name(element_type: str) -> str:
    """`float32` for `f32`; an empty string for a type that is unknown or dynamic."""
    return _TYPES.get(element_type, ("", 0))[0]


def bits(element_type: str) -> int | None:
    """Bits of one element; 0 where they vary (strings), None for an unknown type."""
    known = _TYPES.get(element_type)
    return known[1] if known else None


def of_port(precision: str) -> str:
    """numpy's name for the `precision` of a port."""
    return numpy_name(_PORTS.get(precision, precision.lower()))
