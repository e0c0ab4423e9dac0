"""XNNPACK's graphs, as they lie in a program: flatbuffers of a schema that executorch brings."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from convkit_executorch.flatbuffer import Reader, Schema

BACKEND = "XnnpackBackend"
_HEADER = struct.Struct("<4x4sHIIIQ")
"""Magic, length, offset and size of the flatbuffer, offset and size of the constants."""
_MAGIC = b"XH00"
_ROOT = "XNNGraph"

DTYPES = {
    "fp32": "float32",
    "pfp32": "float32",
    "fp16": "float16",
    "bf16": "bfloat16",
    "qint8": "int8",
    "quint8": "uint8",
    "qcint8": "int8",
    "qdint8": "int8",
    "qpint8": "int8",
    "qint32": "int32",
    "qcint32": "int32",
    "int32": "int32",
    "qcint4": "int4",
    "qbint4": "int4",
}
"""What `xnn_datatype_...` stores."""

DYNAMIC = ("qdint8", "qpint8")
"""Activations that are quantized while the graph runs."""


@dataclass(frozen=True)
class Value:
    """A tensor of a graph.

    Attributes:
        kind: its datatype without `xnn_datatype_`.
        dims: an open axis has some size that it may have.
        data: place of its constants in `Graph.constants`; 0 where it is computed.
        scales: place of its scales there; 0 where it has none of their own.
        external: place among inputs and outputs of the graph; None inside.
    """

    kind: str
    dims: tuple[int, ...]
    data: int
    scales: int
    external: int | None

    @property
    def elements(self) -> int:
        """Their number."""
        return prod(self.dims)


@dataclass(frozen=True)
class Constant:
    """Data that a graph refers to: its size in bytes, and its key where others may share it."""

    size: int
    key: str


@dataclass(frozen=True)
class Node:
    """An operator.

    Attributes:
        kind: the schema's name for it, such as `XNNConv2d`.
        fields: of the schema's table, with ids of values and numbers.
    """

    kind: str
    fields: dict[str, Any]

    @property
    def inputs(self) -> tuple[int, ...]:
        """Ids of what it takes, weights included, each once."""
        told = (v for k, v in self.fields.items() if k.endswith("_id") and not _writes(k))
        return tuple(dict.fromkeys(told))

    @property
    def outputs(self) -> tuple[int, ...]:
        """Ids of what it makes."""
        return tuple(v for k, v in self.fields.items() if k.endswith("_id") and _writes(k))


@dataclass(frozen=True)
class Graph:
    """What one delegated part computes; nodes are in the order of execution."""

    nodes: tuple[Node, ...]
    values: dict[int, Value]
    constants: tuple[Constant, ...]


def graphs(payloads: Sequence[bytes]) -> tuple[Graph, ...]:
    """Parse them.

    Raises:
        ValueError: damaged, or of another schema.
    """
    import importlib.resources

    home = importlib.resources.files("executorch.backends.xnnpack.serialization")
    schema = Schema.parse((home / "schema.fbs").read_text())
    return tuple(_graph(Reader(_flatbuffer(payload), schema).root(_ROOT)) for payload in payloads)


def _writes(field: str) -> bool:
    return field.startswith("output")


def _flatbuffer(payload: bytes) -> bytes:
    """Without the header that newer files have, and the constants behind."""
    if payload[4:8] != _MAGIC:
        return payload
    try:
        _, _, offset, size, _, _ = _HEADER.unpack_from(payload)
    except struct.error as exc:
        raise ValueError(f"a graph of {BACKEND} is cut off") from exc
    if offset + size > len(payload):
        raise ValueError(f"a graph of {BACKEND} is cut off")
    return payload[offset : offset + size]


def _graph(told: dict[str, Any]) -> Graph:
    constants = tuple(
        Constant(int(entry["size"]), entry["named_key"]) for entry in told["constant_data"]
    )
    values = dict(_value(entry) for entry in told["xvalues"])
    nodes = tuple(Node(n["xnode_union_type"], _fields(n["xnode_union"])) for n in told["xnodes"])
    unknown = {i for node in nodes for i in (*node.inputs, *node.outputs)} - set(values)
    if unknown:
        raise ValueError(f"a graph of {BACKEND} refers to values that it does not have")
    return Graph(nodes, values, constants)


_NO_VALUE = 0xFFFFFFFF


def _fields(told: dict[str, Any]) -> dict[str, Any]:
    """Without inputs that are not there (a missing bias, the rest of a concatenation)."""
    return {k: v for k, v in told.items() if not (k.endswith("_id") and v == _NO_VALUE)}


def _value(entry: dict[str, Any]) -> tuple[int, Value]:
    union = entry["xvalue_union"]
    tensor = union.get("tensor_value", union)
    scales = int((union.get("quant_params") or {}).get("scale_buffer_idx", 0))
    # Bits 0 and 1 of the flags: an input or an output of the graph.
    external = int(tensor["external_id"]) if tensor["flags"] & 3 else None
    return int(tensor["id_out"]), Value(
        tensor["datatype"].removeprefix("xnn_datatype_"),
        tuple(map(int, tensor["dims"])),
        int(tensor["constant_buffer_idx"]),
        0 if scales in (-1, _NO_VALUE) else scales,
        external,
    )
