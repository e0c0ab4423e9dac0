"""What all suites that need workers share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest

from convkit.artifact import ReadOptions
from convkit.testing.laboratory import Laboratory, open_laboratory


class LaboratoryContract:
    """Opens one laboratory per test class.

    Attributes:
        plugins: importable plugin targets (`package.plugin`) that are not installed.
        time_limit: seconds that one operation may take.
        memory_limit: megabytes that a worker may use, None for no limit.
        tolerated_writes: caches of a framework that it insists on writing to; say why beside it.
    """

    plugins: ClassVar[tuple[str, ...]] = ()
    time_limit: ClassVar[float] = 600.0
    memory_limit: ClassVar[int | None] = None
    tolerated_writes: ClassVar[tuple[str, ...]] = ()

    @pytest.fixture(scope="class")
    @classmethod
    def laboratory(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
        """The session that the suite runs in."""
        with open_laboratory(
            tmp_path_factory.mktemp("laboratory"),
            cls.plugins,
            seconds=cls.time_limit,
            megabytes=cls.memory_limit,
            tolerated=cls.tolerated_writes,
        ) as laboratory:
            yield laboratory

    @pytest.fixture
    def read(self) -> ReadOptions:
        """How the source is to be read; override for a factory or for trusted files."""
        return ReadOptions()
