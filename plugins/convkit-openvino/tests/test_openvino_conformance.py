"""convkit-openvino keeps the contracts."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

if find_spec("openvino") is None or find_spec("onnx") is None:
    pytest.skip("OpenVINO or onnx is not installed", allow_module_level=True)

import openvino_models as models

from convkit.plugin import Converter, Inspector, Runner, State
from convkit.testing import (
    ConverterContract,
    FormatContract,
    InspectorContract,
    PluginContract,
    RunnerContract,
)
from convkit_openvino import plugin

EDGES = {converter.name: converter for converter in plugin.convkit_converters()}


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two inputs, two outputs, open batch."""
    return models.onnx_case("cnn", tmp_path_factory.mktemp("onnx")).artifact.path


@pytest.fixture(scope="module")
def ir_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a batch of 2, as OpenVINO IR."""
    folder = tmp_path_factory.mktemp("ir")
    source = models.onnx_case("cnn", folder, 2).artifact
    place = folder / "model"
    place.mkdir()
    EDGES["openvino.from-onnx"].convert(source, place / "m.xml", {}, models.context(folder))
    return place / "m.xml"


class TestFromOnnx(ConverterContract):
    @pytest.fixture
    def converter(self) -> Converter:
        return EDGES["openvino.from-onnx"]

    @pytest.fixture
    def source(self, onnx_file: Path) -> Path:
        return onnx_file

    @pytest.fixture
    def tolerance_db(self) -> float:
        return 100.0


class TestFromTorch(ConverterContract):
    @pytest.fixture
    def converter(self) -> Converter:
        return EDGES["openvino.from-torch"]

    @pytest.fixture(scope="class")
    @classmethod
    def source(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        pytest.importorskip("torch")
        return models.torch_case(
            "cnn", tmp_path_factory.mktemp("torch"), dynamic=True
        ).artifact.path

    @pytest.fixture
    def tolerance_db(self) -> float:
        return 100.0


class TestFromTflite(ConverterContract):
    @pytest.fixture
    def converter(self) -> Converter:
        return EDGES["openvino.from-tflite"]

    @pytest.fixture
    def source(self, tensorflow_files: Path) -> Path:
        return tensorflow_files / "open.tflite"

    @pytest.fixture
    def tolerance_db(self) -> float:
        return 100.0


class TestFromTfliteFp16(TestFromTflite):
    @pytest.fixture
    def converter(self) -> Converter:
        return EDGES["openvino.from-tflite-fp16"]

    @pytest.fixture
    def source(self, tensorflow_files: Path) -> Path:
        return tensorflow_files / "fp16.tflite"


class TestFromTfliteInt8(TestFromTflite):
    @pytest.fixture
    def converter(self) -> Converter:
        return EDGES["openvino.from-tflite-int8"]

    @pytest.fixture
    def source(self, tensorflow_files: Path) -> Path:
        return tensorflow_files / "int8.tflite"

    @pytest.fixture
    def tolerance_db(self) -> float:
        return 30.0


@pytest.mark.slow
class TestFromSavedModel(TestFromTflite):
    @pytest.fixture
    def converter(self) -> Converter:
        return EDGES["openvino.from-tf-saved"]

    @pytest.fixture
    def source(self, tensorflow_files: Path) -> Path:
        return tensorflow_files / "open-saved"


@pytest.mark.slow
class TestFromFrozenGraph(TestFromTflite):
    @pytest.fixture
    def converter(self) -> Converter:
        return EDGES["openvino.from-tf-frozen"]

    @pytest.fixture
    def source(self, tensorflow_files: Path) -> Path:
        return tensorflow_files / "frozen.pb"


class TestFp16(ConverterContract):
    @pytest.fixture
    def converter(self) -> Converter:
        return EDGES["openvino.fp16"]

    @pytest.fixture
    def source(self, ir_file: Path) -> Path:
        return ir_file


class TestRunner(RunnerContract):
    @pytest.fixture
    def runner(self) -> Runner:
        (runner,) = plugin.convkit_runners()
        return runner

    @pytest.fixture
    def source(self, ir_file: Path) -> Path:
        return ir_file


class TestInspector(InspectorContract):
    @pytest.fixture
    def inspector(self) -> Inspector:
        (inspector,) = plugin.convkit_inspectors()
        return inspector

    @pytest.fixture
    def source(self, ir_file: Path) -> Path:
        return ir_file

    @pytest.fixture
    def state(self) -> State:
        return State("openvino")


class TestFormat(FormatContract):
    format_id = "openvino"

    @pytest.fixture
    def source(self, ir_file: Path) -> Path:
        return ir_file


class TestPlugin(PluginContract):
    plugin = "convkit_openvino.plugin"
