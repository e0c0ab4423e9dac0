"""What everything that a plugin offers has. Standard library only, like all of this package that
plugins import: isolated workers import it too.

Implementations are small objects whose attributes are cheap data; they import their framework
inside methods, which run in a worker process. An engine that calls them checks every declared
property, and `convkit.testing` lets a plugin's author check them beforehand.
"""

from __future__ import annotations

from typing import Protocol


class Implementation(Protocol):
    """What everything that a plugin offers has. Attributes are read-only: frozen is welcome."""

    @property
    def name(self) -> str:
        """Unique among its kind over all plugins, `<tool>.<what>`."""

    @property
    def requirements(self) -> tuple[str, ...]:
        """Distributions needed, as `name` or `name>=1.2`, or `this|that` where one is enough;
        looked up, never imported."""
