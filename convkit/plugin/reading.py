"""Inspectors: what a plugin implements so that a format's files can be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from convkit.artifact import ReadOptions
from convkit.inspection import Inspection
from convkit.plugin.implementation import Implementation

if TYPE_CHECKING:  # many dataclasses, which planning does not need
    from convkit.delegates import Operation


@runtime_checkable
class Inspector(Implementation, Protocol):
    """Reads artifacts of one format."""

    @property
    def format(self) -> str:
        """Id of the format."""

    def inspect(self, path: Path, read: ReadOptions) -> Inspection:
        """Read the file and say what it is.

        Raises:
            InputError: corrupt, truncated, or not of this format.
            UnsafeError: reading it would run code and `read.trust` is False.
        """


@runtime_checkable
class Renamer(Inspector, Protocol):
    """An inspector of a format whose files name their companions inside."""

    def rename(self, path: Path, names: Mapping[str, str]) -> None:
        """Let the file refer to its companions by other names, in place. The companions
        themselves are none of its business and need not exist.

        Args:
            names: old name to new name, both in the file's own folder.
        """


@runtime_checkable
class OperationReader(Inspector, Protocol):
    """An inspector that can also tell what the rules of accelerators ask about operators."""

    def operations(self, path: Path, read: ReadOptions) -> Sequence[Operation]:
        """Every operator of the main graph in the order of execution, called as `inspect` calls
        its layer.

        Raises:
            InputError, UnsafeError: see `inspect`.
        """
