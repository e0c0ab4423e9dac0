"""convkit-torch keeps the contracts, in every container that it reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch_two_ends as two_ends

from convkit.plugin import Converter, Inspector, ReadOptions, Runner, State
from convkit.testing import (
    ConverterContract,
    FormatContract,
    InspectorContract,
    PluginContract,
    RunnerContract,
)
from convkit_torch import plugin

CONVERTERS = {c.name: c for c in plugin.convkit_converters()}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The model in every container, each in a folder of its own."""
    return {c: two_ends.write(tmp_path_factory.mktemp(c), c) for c in two_ends.READ}


class InContainer:
    """The model in one container, and what has to be said about it."""

    container = "pt2"

    @pytest.fixture
    def source(self, files: dict[str, Path]) -> Path:
        return files[self.container]

    @pytest.fixture
    def read(self) -> ReadOptions:
        return two_ends.READ[self.container]


class TestExportProgram(InContainer, ConverterContract):
    container = "state-dict"

    @pytest.fixture
    def converter(self) -> Converter:
        return CONVERTERS["torch.export-program"]


class TestDynamo(InContainer, ConverterContract):
    @pytest.fixture
    def converter(self) -> Converter:
        return CONVERTERS["torch.onnx-dynamo"]

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"opset": 18}

    @pytest.fixture
    def tolerance_db(self) -> float:
        return 100.0


class TestLegacy(InContainer, ConverterContract):
    @pytest.fixture
    def converter(self) -> Converter:
        return CONVERTERS["torch.onnx-legacy"]

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"opset": 12}

    @pytest.fixture
    def tolerance_db(self) -> float:
        return 100.0


class TestLegacyFromTorchScript(TestLegacy):
    container = "torchscript"


class TestDynamoHalf(InContainer, ConverterContract):
    container = "pt2-fp16"

    @pytest.fixture
    def converter(self) -> Converter:
        return CONVERTERS["torch.onnx-dynamo-fp16"]


class TestWiden(InContainer, ConverterContract):
    container = "pt2-fp16"

    @pytest.fixture
    def converter(self) -> Converter:
        return CONVERTERS["torch.widen"]


class TestFixShapes(InContainer, ConverterContract):
    container = "pt2-dynamic"

    @pytest.fixture
    def converter(self) -> Converter:
        return CONVERTERS["torch.fix-shapes"]

    @pytest.fixture
    def tolerance_db(self) -> float:
        return 100.0


class TestInt8Dynamic(InContainer, ConverterContract):
    container = "text"

    @pytest.fixture
    def converter(self) -> Converter:
        return CONVERTERS["torch.int8-dynamic"]

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"per_channel": False, "reduce_range": "on", "mobile": True}


class TestInt8DynamicWithOpenBatch(TestInt8Dynamic):
    container = "text-dynamic"

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {}


class TestRunProgram(InContainer, RunnerContract):
    @pytest.fixture
    def runner(self) -> Runner:
        (runner,) = plugin.convkit_runners()
        return runner


class TestRunTorchScript(TestRunProgram):
    container = "torchscript"

    def trace(self, *args: Any) -> Any:
        """That it is refused is tested beside the tracer."""
        pytest.skip("TorchScript does not show its layers")


class TestRunInt8Dynamic(TestRunTorchScript):
    container = "int8-dynamic"


class TestRunStateDict(TestRunProgram):
    container = "state-dict"


class TestInspectProgram(InContainer, InspectorContract):
    @pytest.fixture
    def inspector(self) -> Inspector:
        (inspector,) = plugin.convkit_inspectors()
        return inspector

    @pytest.fixture
    def state(self) -> State:
        return State("torch")


class TestInspectHalf(TestInspectProgram):
    container = "pt2-fp16"

    @pytest.fixture
    def state(self) -> State:
        return State("torch", "fp16")


class TestInspectTorchScript(TestInspectProgram):
    container = "torchscript"


class TestInspectInt8Dynamic(TestInspectProgram):
    container = "int8-dynamic"

    @pytest.fixture
    def state(self) -> State:
        return State("torch", "int8-dynamic")


class TestInspectStateDict(TestInspectProgram):
    container = "state-dict"


class TestFormat(InContainer, FormatContract):
    format_id = "torch"


class TestFormatTorchScript(TestFormat):
    container = "torchscript"


class TestFormatStateDict(TestFormat):
    container = "state-dict"


class TestPlugin(PluginContract):
    plugin = "convkit_torch.plugin"


def test_every_converter_is_here() -> None:
    """A converter that is added without its suite fails here."""
    assert set(CONVERTERS) == {
        "torch.export-program",
        "torch.fix-shapes",
        "torch.int8-dynamic",
        "torch.onnx-dynamo",
        "torch.onnx-dynamo-fp16",
        "torch.onnx-legacy",
        "torch.widen",
    }
