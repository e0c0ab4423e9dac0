"""What the library says while it works. It emits; only the command line renders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """Base of all events."""


@dataclass(frozen=True)
class Notice(Event):
    """A sentence that the user should read; `level` is `info`, `warning` or `debug`."""

    message: str
    level: str = "info"


@dataclass(frozen=True)
class StageStarted(Event):
    """A stretch of work began, such as a hop or a verification; `key` is unique in a run."""

    key: str
    title: str


@dataclass(frozen=True)
class StageProgress(Event):
    """The stage's current phase, in words; `fraction` in 0..1 where it is known."""

    key: str
    phase: str
    fraction: float | None = None


@dataclass(frozen=True)
class StageFinished(Event):
    """The stage ended; `outcome` is `done`, `cached` or `failed`."""

    key: str
    outcome: str
    seconds: float
    detail: str = ""


Listener = Callable[[Event], None]


def silent(event: Event) -> None:
    """The listener that ignores everything."""
