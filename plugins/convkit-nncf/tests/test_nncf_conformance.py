"""convkit-nncf keeps the contracts."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

if find_spec("nncf") is None or find_spec("openvino") is None:
    pytest.skip("NNCF or OpenVINO is not installed", allow_module_level=True)

import nncf_models as models

from convkit.plugin import Converter
from convkit.testing import ConverterContract, PluginContract
from convkit_nncf import plugin

EDGES = {converter.name: converter for converter in plugin.convkit_converters()}


@pytest.fixture(scope="module")
def cnn_ir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.cnn_ir(tmp_path_factory.mktemp("ir") / "cnn.xml")


@pytest.fixture(scope="module")
def cnn_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxruntime")
    return models.cnn_onnx(tmp_path_factory.mktemp("onnx") / "cnn.onnx")


@pytest.fixture(scope="module")
def mlp_ir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.mlp_ir(tmp_path_factory.mktemp("mlp") / "mlp.xml")


class TestPlugin(PluginContract):
    plugin = "convkit_nncf.plugin"


class TestOpenVinoInt8(ConverterContract):
    @pytest.fixture
    def converter(self) -> Converter:
        return EDGES["nncf.openvino-int8"]

    @pytest.fixture
    def source(self, cnn_ir: Path) -> Path:
        return cnn_ir

    @pytest.fixture
    def calibration(self) -> Any:
        return [models.draw((models.PICTURE, models.IDS), number) for number in range(8)]

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"preset": "mixed", "bias_correction": "full", "subset_size": 5}

    @pytest.fixture
    def tolerance_db(self) -> float:
        return 25.0


class TestOnnxInt8(TestOpenVinoInt8):
    @pytest.fixture
    def converter(self) -> Converter:
        return EDGES["nncf.onnx-int8"]

    @pytest.fixture
    def source(self, cnn_onnx: Path) -> Path:
        return cnn_onnx

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"activation_ranges": "min-max", "subset_size": 5}


class TestInt8Weights(ConverterContract):
    @pytest.fixture
    def converter(self) -> Converter:
        return EDGES["nncf.openvino-int8-weights"]

    @pytest.fixture
    def source(self, mlp_ir: Path) -> Path:
        return mlp_ir

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"mode": "symmetric"}

    @pytest.fixture
    def tolerance_db(self) -> float:
        return 30.0


class TestInt4Weights(TestInt8Weights):
    @pytest.fixture
    def converter(self) -> Converter:
        return EDGES["nncf.openvino-int4-weights"]

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"group_size": 64, "all_layers": True}

    @pytest.fixture
    def tolerance_db(self) -> float:
        return 7.0  # of random weights, which have no redundancy
