"""Reads any flatbuffer by the text of its schema.

ExecuTorch brings Python classes for its own programs, and for XNNPACK's graphs inside them only the
schema; the tool that reads by schema works on files, and an inspector writes none. Format:
https://flatbuffers.dev/internals/
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_SCALARS = {
    "bool": "<?",
    "byte": "<b",
    "ubyte": "<B",
    "short": "<h",
    "ushort": "<H",
    "int": "<i",
    "uint": "<I",
    "float": "<f",
    "long": "<q",
    "ulong": "<Q",
    "uint64": "<Q",
    "int64": "<q",
    "double": "<d",
}
_COMMENT = re.compile(r"//[^\n]*|\([^)]*\)")
"""Remarks, and attributes of fields: a deprecated one keeps its slot."""
_BLOCK = re.compile(r"\b(table|union|enum)\s+(\w+)\s*(?::\s*(\w+))?\s*\{([^}]*)\}")
_FIELD = re.compile(r"(\w+)\s*:\s*(\[?)\s*(\w+)\s*\]?")
_VALUE = re.compile(r"(\w+)\s*=\s*(-?\d+)")


@dataclass(frozen=True)
class Schema:
    """What a `.fbs` text declares.

    Attributes:
        tables: name to fields (name, type, whether it is a vector) in the order of their slots.
        unions: name to members (name, table); the first has number 1.
        enums: name to the base type and the names of numbers.
    """

    tables: Mapping[str, tuple[tuple[str, str, bool], ...]]
    unions: Mapping[str, tuple[tuple[str, str], ...]]
    enums: Mapping[str, tuple[str, Mapping[int, str]]]

    @classmethod
    def parse(cls, text: str) -> Schema:
        """Of a schema that numbers its enums and has no structs, includes or defaults."""
        tables, unions, enums = {}, {}, {}
        for kind, name, base, body in _BLOCK.findall(_COMMENT.sub("", text)):
            if kind == "table":
                tables[name] = tuple((f, t, bool(v)) for f, v, t in _FIELD.findall(body))
            elif kind == "enum":
                enums[name] = (base, {int(n): value for value, n in _VALUE.findall(body)})
            else:
                members = [entry.split(":") for entry in body.split(",") if entry.strip()]
                unions[name] = tuple((m[0].strip(), m[-1].strip()) for m in members)
        return cls(tables, unions, enums)


@dataclass(frozen=True)
class Reader:
    """A flatbuffer and its schema."""

    data: bytes
    schema: Schema

    def root(self, table: str) -> dict[str, Any]:
        """The root table: fields by name. Scalars that are absent are 0, texts and vectors empty,
        tables None; an enum is its name; a union has its member's name under `<field>_type`.

        Raises:
            ValueError: damaged, or of another schema.
        """
        try:
            return self._table(self._scalar("uint", 0), table)
        except (struct.error, LookupError, UnicodeDecodeError) as exc:
            raise ValueError(f"not a sound {table}: {exc}") from exc

    def _scalar(self, kind: str, place: int) -> Any:
        if place < 0:
            raise ValueError("an offset leads out of the data")
        return struct.unpack_from(_SCALARS[kind], self.data, place)[0]

    def _table(self, place: int, name: str) -> dict[str, Any]:
        shape = place - self._scalar("int", place)
        size = self._scalar("ushort", shape)
        found: dict[str, Any] = {}
        slot = 4

        def offset() -> int:
            return int(self._scalar("ushort", shape + slot)) if slot < size else 0

        for field, kind, many in self.schema.tables[name]:
            if kind in self.schema.unions and not many:
                member = self._scalar("ubyte", place + offset()) if offset() else 0
                slot += 2
                where = offset()
                told = self.schema.unions[kind][member - 1] if member and where else ("", "")
                found[f"{field}_type"] = told[0]
                found[field] = self._table(self._there(place + where), told[1]) if told[1] else None
            else:
                where = offset()
                found[field] = self._field(place + where if where else None, kind, many)
            slot += 2
        return found

    def _there(self, place: int) -> int:
        """Where an offset points to; forward, and never to itself."""
        return place + int(self._scalar("uint", place))

    def _field(self, place: int | None, kind: str, many: bool) -> Any:
        if many:
            return [] if place is None else self._vector(self._there(place), kind)
        return self._value(place, kind)

    def _value(self, place: int | None, kind: str) -> Any:
        if kind in self.schema.enums:
            base, names = self.schema.enums[kind]
            number = 0 if place is None else self._scalar(base, place)
            return names.get(number, str(number))
        if kind in _SCALARS:
            return 0 if place is None else self._scalar(kind, place)
        if kind == "string":
            return "" if place is None else self._text(self._there(place))
        return None if place is None else self._table(self._there(place), kind)

    def _vector(self, place: int, kind: str) -> list[Any]:
        count = self._scalar("uint", place)
        width = struct.calcsize(_SCALARS.get(kind, "<I"))
        if count * width > len(self.data) - place:
            raise ValueError("a vector is longer than the data")
        return [self._value(place + 4 + i * width, kind) for i in range(count)]

    def _text(self, place: int) -> str:
        count = self._scalar("uint", place)
        return bytes(self.data[place + 4 : place + 4 + count]).decode()
