"""The contract of a format: it can be named, found out and inspected."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import ClassVar

import pytest

from convkit.artifact import Format, State
from convkit.engine.sources import SURE, detect
from convkit.plugin.manager import PluginManager
from convkit.plugin.registry import Registry


class FormatContract:
    """Inherit, set `format_id`, and override the fixture `source`.

    Attributes:
        format_id: the format's id.
        plugins: importable plugin targets that are not installed.
    """

    format_id: ClassVar[str] = ""
    plugins: ClassVar[tuple[str, ...]] = ()

    @pytest.fixture
    def source(self) -> Path:
        """A small valid model of the format."""
        raise NotImplementedError("override the fixture `source`")

    @pytest.fixture(scope="class")
    @classmethod
    def manager(cls) -> PluginManager:
        """The installed plugins and these."""
        return PluginManager.discover(cls.plugins)

    @pytest.fixture(scope="class")
    @classmethod
    def registry(cls, manager: PluginManager) -> Registry:
        """What they offer together."""
        return Registry(manager)

    @pytest.fixture
    def home(self, registry: Registry) -> Format:
        """The declaration."""
        assert self.format_id in registry.formats, f"no plugin declares {self.format_id!r}"
        return registry.formats[self.format_id]

    def test_declaration_is_sound(self, home: Format) -> None:
        """A lower-case id, a title, at least fp32, and suffixes or else a folder's suffix."""
        assert home.id == home.id.lower() and not home.id.startswith("-"), home.id
        assert home.title.strip()
        assert home.precisions and len(set(home.precisions)) == len(home.precisions)
        assert bool(home.suffixes) != bool(home.directory_suffix), "a file or a folder, not both"
        assert all(s.startswith(".") for s in home.suffixes), home.suffixes

    def test_every_state_can_be_spelled(self, registry: Registry, home: Format) -> None:
        """Text to state and back, beside all other formats."""
        for precision in home.precisions:
            state = State(home.id, precision)
            assert State.parse(str(state), registry.formats.values()) == state

    def test_is_found_out(self, manager: PluginManager, source: Path, home: Format) -> None:
        """Detected by its content with confidence."""
        guess = detect(manager, source)
        assert guess is not None and guess.format == home.id, f"taken for {guess}"
        assert guess.confidence >= SURE, f"only {guess.confidence:g} sure"

    def test_is_found_out_by_content(
        self, manager: PluginManager, source: Path, home: Format, tmp_path: Path
    ) -> None:
        """A file under a foreign suffix is still what it is."""
        if source.is_dir():
            pytest.skip("a folder has no suffix")
        renamed = tmp_path / "model.convkit-unknown"
        shutil.copyfile(source, renamed)
        guess = detect(manager, renamed)
        assert guess is not None and guess.format == home.id, f"taken for {guess}"

    def test_can_be_inspected_and_run(self, registry: Registry, home: Format) -> None:
        """Without an inspector nothing is true, without a runner nothing is verified."""
        registry.inspector(home.id)
        assert registry.runners_of(home.id), f"no runner for {home.id}"
