"""What all suites that need workers share."""

from __future__ import annotations

from collections.abc import Hashable
from contextlib import ExitStack
from typing import ClassVar

import pytest

from convkit.artifact import ReadOptions
from convkit.testing.laboratory import Laboratory, open_laboratory

_OPEN = pytest.StashKey[dict[Hashable, Laboratory]]()


class LaboratoryContract:
    """Opens a laboratory; suites of one file that say the same below share it, because starting
    workers and loading frameworks is most of what a suite costs.

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
    def laboratory(
        cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
    ) -> Laboratory:
        """The session that the suite runs in."""
        file = request.node.getparent(pytest.Module)
        opened = file.stash.setdefault(_OPEN, {})
        key = (cls.plugins, cls.time_limit, cls.memory_limit, cls.tolerated_writes)
        if key not in opened:
            with ExitStack() as stack:
                opened[key] = stack.enter_context(
                    open_laboratory(
                        tmp_path_factory.mktemp("laboratory"),
                        cls.plugins,
                        seconds=cls.time_limit,
                        megabytes=cls.memory_limit,
                        tolerated=cls.tolerated_writes,
                    )
                )
                file.addfinalizer(stack.pop_all().close)
        laboratory: Laboratory = opened[key]
        return laboratory

    @pytest.fixture
    def read(self) -> ReadOptions:
        """How the source is to be read; override for a factory or for trusted files."""
        return ReadOptions()
