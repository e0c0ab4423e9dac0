"""convkit-onnx2torch keeps the contracts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

import onnx2torch_models as models

from convkit.plugin import Converter
from convkit.testing import ConverterContract, PluginContract
from convkit_onnx2torch import plugin

CONVERTERS = {c.name: c for c in plugin.convkit_converters()}


class TestByOnnx2Fx(ConverterContract):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        folder = tmp_path / "source"
        folder.mkdir()
        return models.write(models.two_ends(), folder)

    @pytest.fixture
    def converter(self) -> Converter:
        pytest.importorskip("onnx2fx")
        return CONVERTERS["onnx2fx.torch"]

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"batch": 2}

    @pytest.fixture
    def tolerance_db(self) -> float:
        return 100.0


class TestByOnnx2Torch(TestByOnnx2Fx):
    @pytest.fixture
    def converter(self) -> Converter:
        pytest.importorskip("onnx2torch")
        return CONVERTERS["onnx2torch.torch"]


class TestByOnnx2FxFp16(TestByOnnx2Fx):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        half = pytest.importorskip("onnxruntime.transformers.float16")
        folder = tmp_path / "source"
        folder.mkdir()
        return models.write(half.convert_float_to_float16(models.two_ends()), folder)

    @pytest.fixture
    def converter(self) -> Converter:
        pytest.importorskip("onnx2fx")
        return CONVERTERS["onnx2fx.torch-fp16"]

    @pytest.fixture
    def tolerance_db(self) -> float:
        return 40.0


class TestByOnnx2TorchFp16(TestByOnnx2FxFp16):
    @pytest.fixture
    def converter(self) -> Converter:
        pytest.importorskip("onnx2torch")
        return CONVERTERS["onnx2torch.torch-fp16"]


class TestPlugin(PluginContract):
    plugin = "convkit_onnx2torch.plugin"


def test_every_converter_is_here() -> None:
    """A converter that is added without its suite fails here."""
    both = {"onnx2fx.torch", "onnx2torch.torch"}
    assert set(CONVERTERS) == both | {f"{name}-fp16" for name in both}
