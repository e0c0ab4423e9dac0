"""Nouns to JSON and back: the only form in which they cross a process or reach a disk.

Standard library only, since workers in isolated environments use it too. Nothing is pickled.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def encode(value: Any) -> Any:
    """Turn a noun (or a container of nouns) into plain JSON values.

    Raises:
        TypeError: for a value that JSON cannot carry.
    """
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no infinity and no NaN; `decode` reads the word back
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(encode(item) for item in value)  # its own order is another in every process
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def decode(cls: Any, data: Any) -> Any:
    """Build a `cls` (a dataclass, an enum, a container type or a union) from JSON values.

    Unknown keys are ignored, so that a newer writer does not break an older reader.
    """
    origin = typing.get_origin(cls)
    if origin in (typing.Union, types.UnionType):
        options = [o for o in typing.get_args(cls) if o is not type(None)]
        if data is None or len(options) > 1:
            return data
        return decode(options[0], data)
    if origin in (tuple, list, frozenset):
        arguments = [a for a in typing.get_args(cls) if a is not Ellipsis]
        item = arguments[0] if arguments else Any
        if origin is tuple and len(arguments) > 1:
            return tuple(decode(kind, part) for kind, part in zip(arguments, data, strict=True))
        return origin(decode(item, part) for part in data)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        _, item = typing.get_args(cls)
        return {key: decode(item, part) for key, part in data.items()}
    if isinstance(cls, type) and dataclasses.is_dataclass(cls):
        hints = _hints(cls)
        known = {f.name for f in dataclasses.fields(cls)}
        return cls(**{key: decode(hints[key], part) for key, part in data.items() if key in known})
    if cls is float or (isinstance(cls, type) and issubclass(cls, enum.Enum | Path)):
        return cls(data)
    return data


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)
