"""The hook marker, usable where pluggy is absent (isolated environments import plugins too)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

PROJECT = "convkit"
ENTRY_POINT_GROUP = "convkit.v1"


if TYPE_CHECKING:

    def hookimpl(function: F) -> F:
        """Mark a function as the implementation of the hook of the same name."""

else:
    try:
        from pluggy import HookimplMarker
    except ModuleNotFoundError:  # an isolated environment: the worker calls functions by name

        def hookimpl(function: F) -> F:
            """Mark nothing: there is no manager here."""
            return function

    else:
        hookimpl = HookimplMarker(PROJECT)
