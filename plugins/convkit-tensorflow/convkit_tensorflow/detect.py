"""Tells SavedModel and GraphDef apart by their protobuf wire structure; standard library only.

Field numbers are those of TensorFlow's `saved_model.proto`, `graph.proto` and `node_def.proto`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from convkit.plugin import Detection

SAVED_MODEL_FILE = "saved_model.pb"
SUFFIX = ".pb"
_HEAD = 4096

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

_SAVED_SCHEMA_VERSION, _SAVED_META_GRAPHS = 1, 2
_GRAPH_FIELDS = {1: _BYTES, 2: _BYTES, 3: _VARINT, 4: _BYTES, 5: _BYTES}
_GRAPH_NODE = 1
_NODE_NAME, _NODE_OP = 1, 2


def saved_model(path: Path) -> Detection | None:
    """A directory with a `saved_model.pb`; surer if that starts as it must."""
    try:
        with (path / SAVED_MODEL_FILE).open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return None
    return Detection("tf-saved", 1.0 if is_saved_model(head) else 0.5)


def frozen_graph(path: Path, head: bytes) -> Detection | None:
    """A GraphDef: its first field is a node, with a name and then an operator type."""
    if path.name == SAVED_MODEL_FILE or is_saved_model(head):
        return None
    if is_graph_def(head):
        return Detection("tf-frozen", 1.0)
    return Detection("tf-frozen", 0.5) if path.suffix == SUFFIX else None


def is_saved_model(head: bytes) -> bool:
    """Whether the bytes start like a SavedModel: schema version 1, then a meta graph."""
    fields = list(_fields(head))
    return (
        len(fields) >= 2
        and fields[0][:2] == (_SAVED_SCHEMA_VERSION, _VARINT)
        and fields[0][2] == b"\x01"
        and fields[1][:2] == (_SAVED_META_GRAPHS, _BYTES)
    )


def is_graph_def(head: bytes) -> bool:
    """Whether the bytes start like a GraphDef with at least one node."""
    fields = list(_fields(head))
    if not fields or any(_GRAPH_FIELDS.get(number) != wire for number, wire, _ in fields):
        return False
    number, _, node = fields[0]
    if number != _GRAPH_NODE:
        return False
    parts = list(_fields(node))
    return (
        len(parts) >= 2
        and [part[:2] for part in parts[:2]] == [(_NODE_NAME, _BYTES), (_NODE_OP, _BYTES)]
        and parts[1][2][:1].isupper()
        and all(part[2].isascii() and part[2].decode().isprintable() for part in parts[:2])
    )


def _fields(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(Number, wire type, payload) of each field that begins in the data.

    The last payload may be cut off, since callers have the start of a file only. Ends early at
    bytes that cannot be protobuf, with a field number that no message has.
    """
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        if key is None:
            return
        number, wire = key >> 3, key & 7
        if number == 0:
            yield 0, wire, b""
            return
        if wire == _VARINT:
            start = position
            value, position = _varint(data, position)
            if value is None:
                return
            yield number, wire, data[start:position]
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
            yield number, wire, data[position : position + size]
            position += size
        elif wire == _BYTES:
            size_or_none, position = _varint(data, position)
            if size_or_none is None:
                return
            yield number, wire, data[position : position + size_or_none]
            position += size_or_none
        else:
            yield 0, wire, b""
            return


def _varint(data: bytes, position: int) -> tuple[int | None, int]:
    value = shift = 0
    while position < len(data) and shift < 64:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    return None, position
