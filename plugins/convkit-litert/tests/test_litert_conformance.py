"""convkit-litert keeps the contracts, its inspector and runner in every precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import litert_models as models
import pytest
import torch

import convkit
from convkit.plugin import Converter, Inspector, Runner, State
from convkit.testing import (
    ConverterContract,
    FormatContract,
    InspectorContract,
    PluginContract,
    RunnerContract,
)
from convkit_litert import plugin

CONVERTERS = {c.name: c for c in plugin.convkit_converters()}
PRECISIONS = ("fp32", "fp16", "int8-dynamic", "int8")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    inputs = (torch.rand(1, 3, 16, 16), torch.randint(0, 8, (1, 6)))
    path = tmp_path_factory.mktemp("program") / "model.pt2"
    return models.export(models.TwoEnds(), inputs, path).path


@pytest.fixture(scope="module")
def files(
    program: Path, kit: convkit.Kit, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """The model in every precision, and in int8 to its very ends, made in workers of convkit."""

    def convert(*precisions: str, **options: str) -> list[Path]:
        made = convkit.convert(
            program,
            to=[str(State("tflite", p)) for p in precisions],
            output_dir=tmp_path_factory.mktemp("made"),
            steering=convkit.Steering(via=("litert-torch",), options=options),
            synthetic_calibration=True,
            kit=kit,
        )
        return [output.path for output in made.outputs]

    (integer,) = convert("int8", **{"ai-edge-quantizer.int8.io": "integer"})
    return dict(zip(PRECISIONS, convert(*PRECISIONS), strict=True)) | {"integer": integer}


class TestTorchToTflite(ConverterContract):
    @pytest.fixture
    def converter(self) -> Converter:
        return CONVERTERS["litert-torch.tflite"]

    @pytest.fixture
    def source(self, program: Path) -> Path:
        return program

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"batch": 2}

    @pytest.fixture
    def tolerance_db(self) -> float:
        return 100.0


class Quantizer(ConverterContract):
    @pytest.fixture
    def source(self, files: dict[str, Path]) -> Path:
        return files["fp32"]


class TestFloat16(Quantizer):
    @pytest.fixture
    def converter(self) -> Converter:
        return CONVERTERS["ai-edge-quantizer.fp16"]


class TestDynamicInt8(Quantizer):
    @pytest.fixture
    def converter(self) -> Converter:
        return CONVERTERS["ai-edge-quantizer.dynamic"]

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"per_channel": False}


class TestStaticInt8(Quantizer):
    @pytest.fixture
    def converter(self) -> Converter:
        return CONVERTERS["ai-edge-quantizer.int8"]

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"io": "integer", "ranges": "moving-average"}


class Widening(ConverterContract):
    file = ""

    @pytest.fixture
    def source(self, files: dict[str, Path]) -> Path:
        return files[self.file]


class TestWiden(Widening):
    file = "fp16"

    @pytest.fixture
    def converter(self) -> Converter:
        return CONVERTERS["litert.widen"]


class TestDequantize(Widening):
    file = "integer"

    @pytest.fixture
    def converter(self) -> Converter:
        return CONVERTERS["litert.dequantize"]


class TestDequantizeDynamic(Widening):
    file = "int8-dynamic"

    @pytest.fixture
    def converter(self) -> Converter:
        return CONVERTERS["litert.dequantize-dynamic"]


class InPrecision:
    """One of the files."""

    file = "fp32"

    @pytest.fixture
    def source(self, files: dict[str, Path]) -> Path:
        return files[self.file]

    @pytest.fixture
    def state(self) -> State:
        return State("tflite", "int8" if self.file == "integer" else self.file)


class TestRunner(InPrecision, RunnerContract):
    @pytest.fixture
    def runner(self) -> Runner:
        (runner,) = plugin.convkit_runners()
        return runner


class TestInspector(InPrecision, InspectorContract):
    @pytest.fixture
    def inspector(self) -> Inspector:
        (inspector,) = plugin.convkit_inspectors()
        return inspector


class TestRunnerFloat16(TestRunner):
    file = "fp16"


class TestRunnerDynamic(TestRunner):
    file = "int8-dynamic"


class TestRunnerInt8(TestRunner):
    file = "int8"


class TestRunnerIntegerEnds(TestRunner):
    file = "integer"


class TestInspectorFloat16(TestInspector):
    file = "fp16"


class TestInspectorDynamic(TestInspector):
    file = "int8-dynamic"


class TestInspectorInt8(TestInspector):
    file = "int8"


class TestInspectorIntegerEnds(TestInspector):
    file = "integer"


class TestFormat(InPrecision, FormatContract):
    format_id = "tflite"


class TestPlugin(PluginContract):
    plugin = "convkit_litert.plugin"


def test_every_converter_is_here() -> None:
    """One that is added without its suite fails here."""
    assert set(CONVERTERS) == {
        "litert-torch.tflite",
        "ai-edge-quantizer.fp16",
        "ai-edge-quantizer.dynamic",
        "ai-edge-quantizer.int8",
        "litert.widen",
        "litert.dequantize",
        "litert.dequantize-dynamic",
    }
