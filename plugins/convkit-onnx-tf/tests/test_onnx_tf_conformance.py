"""convkit-onnx-tf keeps the contracts, in its isolated environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from convkit.testing import ConverterContract, PluginContract


@pytest.fixture(scope="module")
def simplified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture and ids in, a map and a vector out; names sort against their order."""
    node, value = helper.make_node, helper.make_tensor_value_info
    random = np.random.default_rng(0)

    def weight(name: str, *shape: int) -> Any:
        return numpy_helper.from_array(random.standard_normal(shape).astype(np.float32), name)

    graph = helper.make_graph(
        [
            node("Conv", ["zoom", "w"], ["c"], pads=[1, 1, 1, 1]),
            node("Relu", ["c"], ["shown"]),
            node("GlobalAveragePool", ["shown"], ["pooled"]),
            node("Flatten", ["pooled"], ["flat"]),
            node("Gather", ["table", "ids"], ["rows"]),
            node("ReduceMean", ["rows"], ["mean"], axes=[1], keepdims=0),
            node("Add", ["flat", "mean"], ["both"]),
            node("Gemm", ["both", "head"], ["classes"]),
        ],
        "two ends",
        [value("zoom", TensorProto.FLOAT, [1, 3, 8, 8]), value("ids", TensorProto.INT64, [1, 6])],
        [
            value("shown", TensorProto.FLOAT, [1, 8, 8, 8]),
            value("classes", TensorProto.FLOAT, [1, 5]),
        ],
        [weight("w", 8, 3, 3, 3), weight("table", 12, 8), weight("head", 8, 5)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=7)
    path = tmp_path_factory.mktemp("simplified") / "model.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def recurrent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two LSTMs, one behind the other."""
    node, value = helper.make_node, helper.make_tensor_value_info
    random = np.random.default_rng(0)

    def weight(name: str, *shape: int) -> Any:
        return numpy_helper.from_array(random.standard_normal(shape).astype(np.float32), name)

    graph = helper.make_graph(
        [
            node("LSTM", ["steps", "W", "R", "B"], ["first"], hidden_size=6),
            node("Squeeze", ["first"], ["flat"], axes=[1]),
            node("LSTM", ["flat", "W2", "R2", "B2"], ["second", "last"], hidden_size=6),
        ],
        "two layers",
        [value("steps", TensorProto.FLOAT, [5, 1, 6])],
        [value("last", TensorProto.FLOAT, [1, 1, 6])],
        [
            tensor
            for k in ("", "2")
            for tensor in (
                weight(f"W{k}", 1, 24, 6),
                weight(f"R{k}", 1, 24, 6),
                weight(f"B{k}", 1, 48),
            )
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=7)
    path = tmp_path_factory.mktemp("recurrent") / "model.onnx"
    onnx.save(model, path)
    return path


@pytest.mark.usefixtures("onnx_tf_python")  # skips where the environment cannot be built
class TestOnnxToSavedModel(ConverterContract):
    edge = "onnx-tf.saved"
    tolerance = 100.0

    @pytest.fixture
    def source(self, simplified: Path) -> Path:
        return simplified

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"auto_cast": True}


@pytest.mark.slow
class TestRecurrentToSavedModel(TestOnnxToSavedModel):
    """Twice in one process: onnx-tf itself would stumble over the first one's cells."""

    @pytest.fixture
    def source(self, recurrent: Path) -> Path:
        return recurrent


class TestPlugin(PluginContract):
    plugin = "convkit_onnx_tf.plugin"
