"""Recognize an ONNX file by the structure of its protobuf: standard library only."""

from __future__ import annotations

# Fields of ModelProto (onnx.proto): number to wire type (0 varint, 2 length-delimited).
_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
_IR_VERSION, _PRODUCER, _GRAPH, _OPSETS = 1, 2, 7, 8
_NEWEST_IR = 64


def looks_like_onnx(head: bytes) -> bool:
    """Whether the first bytes are a ModelProto: an IR version first, then only known fields.

    Never raises, whatever the bytes are.
    """
    position = 0
    seen: set[int] = set()
    while position < len(head):
        tag, position = _varint(head, position)
        number, wire = tag >> 3, tag & 7
        if _FIELDS.get(number) != wire:
            return False
        value, position = _varint(head, position)
        if position < 0:
            break
        if number == _IR_VERSION and not 0 < value <= _NEWEST_IR:
            return False
        if not seen and number not in (_IR_VERSION, _PRODUCER, _GRAPH, _OPSETS):
            return False
        if number == _GRAPH and not _starts_like_graph(head[position : position + 1]):
            return False
        seen.add(number)
        if wire == 2:
            position += value
    # The graph may come first (field order is the writer's choice), the version may come last.
    return _GRAPH in seen or {_IR_VERSION, _OPSETS} <= seen


def _starts_like_graph(first: bytes) -> bool:
    # GraphProto's fields 1, 2, 5, 10..16 are all length-delimited.
    return not first or (first[0] & 7 == 2 and first[0] >> 3 in (1, 2, 5, 10, 11, 12, 13, 14, 15))


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """A varint and the position after it, or -1 where the data ends inside it."""
    value = 0
    for shift in range(0, 70, 7):
        if position < 0 or position >= len(data):
            return 0, -1
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
    return 0, -1
