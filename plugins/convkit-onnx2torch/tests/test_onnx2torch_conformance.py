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


class TestPlugin(PluginContract):
    plugin = "convkit_onnx2torch.plugin"


def test_every_converter_is_here() -> None:
    """A converter that is added without its suite fails here."""
    assert set(CONVERTERS) == {"onnx2fx.torch", "onnx2torch.torch"}
