"""The good toy plugin passes every suite of the kit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from convkit.artifact import Artifact, State, TensorSpec
from convkit.builtin import convkit_calibration_sources
from convkit.plugin.data import CalibrationSource
from convkit.plugin.edges import Converter
from convkit.plugin.reading import Inspector
from convkit.plugin.runtimes import Runner
from convkit.testing import (
    CalibrationSourceContract,
    ConverterContract,
    FormatContract,
    InspectorContract,
    PluginContract,
    RunnerContract,
)
from tests.testing.toyplugin import converters, plugin
from tests.testing.toyplugin import model as toy
from tests.testing.toyplugin.reading import ToyInspector, ToyRunner

TOY = ("tests.testing.toyplugin.plugin",)


def write_toy(folder: Path, format_id: str = "toy", **changes: Any) -> Path:
    """A model with two inputs and two outputs of different shape."""
    path = folder / ("model" + (f".{format_id}" if format_id != "toy-crate" else "-crate"))
    model = toy.build({"a": (3, 0), "b": (5, 0)}, step=True, opset=12)
    model["traits"].update(changes)
    toy.write(model, path, format_id)
    return path


class ToyConverter(ConverterContract):
    plugins = TOY
    format_id = "brick"

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return write_toy(tmp_path, self.format_id, simplified=True)


class TestBrick(ToyConverter):
    format_id = "toy"

    @pytest.fixture
    def converter(self) -> Converter:
        return converters.Brick()

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"opset": 9}

    @pytest.fixture
    def tolerance_db(self) -> float:
        return 100.0


class TestSimplify(ToyConverter):
    @pytest.fixture
    def converter(self) -> Converter:
        return converters.Simplify()


class TestCrate(ToyConverter):
    @pytest.fixture
    def converter(self) -> Converter:
        return converters.Crate()


class TestHalf(ToyConverter):
    @pytest.fixture
    def converter(self) -> Converter:
        return converters.Half()


class TestDynamic(ToyConverter):
    @pytest.fixture
    def converter(self) -> Converter:
        return converters.Dynamic()


class TestStatic(ToyConverter):
    @pytest.fixture
    def converter(self) -> Converter:
        return converters.Static()

    @pytest.fixture
    def calibration(self) -> Any:
        import numpy as np

        rng = np.random.default_rng(1)
        return [
            (rng.random((1, 8), dtype=np.float32), rng.integers(0, 8, 1, dtype=np.int64))
            for _ in range(12)
        ]


class TestDirect(ToyConverter):
    format_id = "toy"

    @pytest.fixture
    def converter(self) -> Converter:
        return converters.Direct()


class TestToyPlugin(PluginContract):
    plugin = "tests.testing.toyplugin.plugin"


class TestCorePlugin(PluginContract):
    plugin = "convkit.builtin"


@pytest.mark.parametrize("format_id", plugin.FORMATS)
class TestInspectors(InspectorContract):
    plugins = TOY

    @pytest.fixture
    def inspector(self, format_id: str) -> Inspector:
        return ToyInspector(f"{format_id}.inspect", format_id)

    @pytest.fixture
    def source(self, tmp_path: Path, format_id: str) -> Path:
        return write_toy(tmp_path, format_id)

    @pytest.fixture
    def state(self, format_id: str) -> State:
        return State(format_id)


@pytest.mark.parametrize("format_id", ["toy", "toy-crate"])
class TestRunners(RunnerContract):
    plugins = TOY

    @pytest.fixture
    def runner(self, format_id: str) -> Runner:
        return ToyRunner(f"{format_id}.run", format_id)

    @pytest.fixture
    def source(self, tmp_path: Path, format_id: str) -> Path:
        return write_toy(tmp_path, format_id)


class TestFileFormat(FormatContract):
    plugins = TOY
    format_id = "brick"

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return write_toy(tmp_path, "brick")


class TestFolderFormat(FormatContract):
    plugins = TOY
    format_id = "toy-crate"

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return write_toy(tmp_path, "toy-crate")


class TestArraySource(CalibrationSourceContract):
    @pytest.fixture
    def calibration_source(self) -> CalibrationSource:
        return convkit_calibration_sources()[0]

    @pytest.fixture
    def data(self, tmp_path: Path) -> Path:
        import numpy as np

        path = tmp_path / "samples.npy"
        np.save(path, np.random.default_rng(0).random((5, 1, 8), dtype=np.float32))
        return path

    @pytest.fixture
    def artifact(self) -> Artifact:
        return Artifact(Path("model.toy"), State("toy"), (TensorSpec("x", (1, 8), "float32"),))
