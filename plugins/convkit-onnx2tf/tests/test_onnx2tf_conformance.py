"""convkit-onnx2tf keeps the contracts, in its isolated environment."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from convkit.testing import ConverterContract, PluginContract
from convkit_onnx2tf.names import TENSORFLOW, TFLITE, fitting_names
from convkit_onnx2tf.operators import obstacles
from convkit_onnx2tf.plugin import convkit_converters


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
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
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    onnx.save(made, path)
    return path


@pytest.mark.usefixtures("onnx2tf_python")  # skips where the environment cannot be built
class _Edge(ConverterContract):
    tolerance = 100.0

    @pytest.fixture
    def source(self, model: Path) -> Path:
        return model


class TestOnnxToTflite(_Edge):
    edge = "onnx2tf.tflite"


class TestOnnxToTfliteNative(_Edge):
    edge = "onnx2tf.tflite"

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"io_layout": "native"}


class TestOnnxToSavedModel(_Edge):
    edge = "onnx2tf.saved"


class TestPlugin(PluginContract):
    plugin = "convkit_onnx2tf.plugin"


def test_the_lock_pins_every_package_with_hashes_and_names_no_host() -> None:
    first, second = convkit_converters()
    assert first.isolated is not None
    assert first.isolated == second.isolated
    lock = first.isolated.lock
    requirements = [x for x in lock.splitlines() if x and not x.startswith((" ", "#"))]
    assert len(requirements) > 40
    assert all(re.match(r"[a-z0-9-]+==\S+( ;.*)? \\$", line) for line in requirements)
    assert lock.count("--hash=sha256:") > len(requirements)
    assert not re.search(r"https?:|--index|--find-links|@ file", lock)


def test_names_are_unique_and_kept_where_they_fit() -> None:
    names = fitting_names(["a.b", "a_b", "A_B", "self", "1", "x"], TENSORFLOW, taken=["x"])
    assert names["a_b"] == "a_b"
    assert len({n.lower() for n in names.values()}) == 6
    assert all(TENSORFLOW.fullmatch(n) for n in names.values())
    assert names["x"] != "x"
    assert fitting_names(["/a/b.1", "a:0"], TFLITE) == {"/a/b.1": "/a/b.1", "a:0": "a_0"}


def test_only_operators_that_count_are_obstacles() -> None:
    node, value = helper.make_node, helper.make_tensor_value_info
    inner = helper.make_graph(
        [node("Odd", ["x"], ["i"])], "inner", [], [value("i", TensorProto.FLOAT, [2])]
    )
    graph = helper.make_graph(
        [
            node("Shape", ["x"], ["s"]),
            node("Odd", ["s"], ["folded"]),
            node("Odd", ["x"], ["dead"]),
            node("If", ["flag"], ["branch"], then_branch=inner, else_branch=inner, name="choice"),
            node("Odd", ["branch"], ["y"]),
            node("Reshape", ["y", "folded"], ["z"]),
        ],
        "graph",
        [value("x", TensorProto.FLOAT, [2]), value("flag", TensorProto.BOOL, [])],
        [value("z", TensorProto.FLOAT, [2])],
    )
    (found,) = obstacles(helper.make_model(graph), ["Shape", "If", "Reshape"])
    assert (found.what, found.layers) == ("Odd", ("choice", "Odd_4"))
    assert found.remedy
