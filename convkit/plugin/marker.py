"""The hook marker, usable where pluggy is absent (isolated environments import plugins too)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

PROJECT = "convkit"
ENTRY_POINT_GROUP = "convkit.v1"


def _plain(function: F) -> F:
    return function


try:
    from pluggy import HookimplMarker
except ModuleNotFoundError:  # an isolated environment: the worker calls the functions by name
    hookimpl: Any = _plain
else:
    hookimpl = HookimplMarker(PROJECT)
