"""convkit-ultralytics keeps the contracts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from convkit.plugin import Converter, Inspector, Runner, State
from convkit.testing import (
    ConverterContract,
    FormatContract,
    InspectorContract,
    PluginContract,
    RunnerContract,
)
from convkit_ultralytics import plugin

CONVERTERS = {c.name: c for c in plugin.convkit_converters()}


class OfKind:
    """One kind of file."""

    kind = "checkpoint"

    @pytest.fixture
    def source(self, files: dict[str, Path]) -> Path:
        return files[self.kind]


class TestTorch(OfKind, ConverterContract):
    @pytest.fixture
    def converter(self) -> Converter:
        return CONVERTERS["ultralytics.torch"]

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"fuse": False}

    @pytest.fixture
    def tolerance_db(self) -> float:
        return 100.0


class TestOnnx(OfKind, ConverterContract):
    kind = "segment"

    @pytest.fixture
    def converter(self) -> Converter:
        return CONVERTERS["ultralytics.onnx"]

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"opset": 12}

    @pytest.fixture
    def tolerance_db(self) -> float:
        return 80.0


class TestRun(OfKind, RunnerContract):
    kind = "segment"

    @pytest.fixture
    def runner(self) -> Runner:
        (runner,) = plugin.convkit_runners()
        return runner


class TestInspect(OfKind, InspectorContract):
    @pytest.fixture
    def inspector(self) -> Inspector:
        (inspector,) = plugin.convkit_inspectors()
        return inspector

    @pytest.fixture
    def state(self) -> State:
        return State("ultralytics")


class TestInspectDescription(TestInspect):
    kind = "description"


class TestFormat(OfKind, FormatContract):
    format_id = "ultralytics"


class TestFormatDescription(TestFormat):
    kind = "description"


class TestPlugin(PluginContract):
    plugin = "convkit_ultralytics.plugin"


def test_every_converter_is_here() -> None:
    """A converter that is added without its suite fails here."""
    assert set(CONVERTERS) == {"ultralytics.torch", "ultralytics.onnx"}
