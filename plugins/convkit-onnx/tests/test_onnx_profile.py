"""What ONNX Runtime really ran, traced back to the model's own nodes."""

from __future__ import annotations

from pathlib import Path

import pytest

np = pytest.importorskip("numpy")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from convkit.errors import ConversionError  # noqa: E402
from convkit.plugin import Artifact, Profiler, ReadOptions, State  # noqa: E402
from convkit_onnx.inspector import OnnxInspector  # noqa: E402
from convkit_onnx.reference import ReferenceRunner  # noqa: E402
from convkit_onnx.runner import OnnxRuntimeRunner  # noqa: E402

RUNNER = OnnxRuntimeRunner()
RUNS = 4


def weight(name: str, *shape: int) -> onnx.TensorProto:
    values = np.random.default_rng(len(name)).standard_normal(shape).astype("float32")
    return numpy_helper.from_array(values, name)


def constant(name: str, value: object, dtype: str) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(value, dtype), name)


def save(path: Path, nodes: list, weights: list, outputs: int = 8) -> Artifact:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 16, 16))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    found = OnnxInspector().inspect(path, ReadOptions())
    return Artifact(path, State("onnx"), found.inputs, found.outputs)


def float_model(path: Path) -> Artifact:
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="act"),
        helper.make_node("Conv", ["b", "w2"], ["c"], name="second"),
        helper.make_node("Sigmoid", ["c"], ["y"], name="end"),
    ]
    return save(path, nodes, [weight("w1", 8, 3, 3, 3), weight("w2", 8, 8, 3, 3)])


def quantized_model(path: Path) -> Artifact:
    """The first convolution between QuantizeLinear and DequantizeLinear, the second in float."""
    weights = [
        numpy_helper.from_array(np.ones((8, 3, 3, 3), np.int8), "w1"),
        weight("w2", 8, 8, 3, 3),
        constant("s", 0.05, "float32"),
        constant("z", 0, "uint8"),
        constant("sw", 0.1, "float32"),
        constant("zw", 0, "int8"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"], name="q_in"),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"], name="dq_in"),
        helper.make_node("DequantizeLinear", ["w1", "sw", "zw"], ["wd"], name="dq_w"),
        helper.make_node("Conv", ["xd", "wd"], ["a"], name="first"),
        helper.make_node("QuantizeLinear", ["a", "s", "z"], ["aq"], name="q_a"),
        helper.make_node("DequantizeLinear", ["aq", "s", "z"], ["ad"], name="dq_a"),
        helper.make_node("Conv", ["ad", "w2"], ["c"], name="second"),
        helper.make_node("Sigmoid", ["c"], ["y"], name="end"),
    ]
    return save(path, nodes, weights)


def profiled(artifact: Artifact, folder: Path):
    folder.mkdir()
    image = np.random.default_rng(0).random((1, 3, 16, 16), dtype=np.float32)
    return RUNNER.profile(artifact, [image], 1, RUNS, folder)


def test_who_can_profile() -> None:
    assert isinstance(RUNNER, Profiler)
    assert not isinstance(ReferenceRunner(), Profiler)


def test_a_float_model_runs_in_float(tmp_path: Path) -> None:
    found = profiled(float_model(tmp_path / "model.onnx"), tmp_path / "scratch")
    assert found.runs == RUNS and found.runner == RUNNER.name
    assert not any(layer.integer for layer in found.layers)
    assert found.integer_seconds == 0 < found.seconds <= 2 * found.wall_seconds
    named = [name for layer in found.layers for name in layer.layers]
    assert sorted(named) == ["act", "end", "first", "second"]
    fused = next(layer for layer in found.layers if "act" in layer.layers)
    assert fused.op_type in ("Conv", "FusedConv") and "first" in fused.layers


def test_integers_are_told_from_floats_beside_them(tmp_path: Path) -> None:
    found = profiled(quantized_model(tmp_path / "model.onnx"), tmp_path / "scratch")
    by_layer = {name: kernel for kernel in found.layers for name in kernel.layers}
    assert by_layer["first"].op_type == "QLinearConv"
    assert by_layer["first"].integer and by_layer["first"].compute == "uint8"
    assert by_layer["second"].compute == "float32"
    assert 0 < found.integer_seconds < found.seconds
    conversions = [x for x in found.layers if x.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert conversions and not any(x.integer for x in conversions)


def test_nodes_without_names(tmp_path: Path) -> None:
    artifact = float_model(tmp_path / "model.onnx")
    model = onnx.load(artifact.path)
    for node in model.graph.node:
        node.name = ""
    onnx.save(model, artifact.path)
    found = profiled(artifact, tmp_path / "scratch")
    known = {x.name for x in OnnxInspector().inspect(artifact.path, ReadOptions()).layers}
    assert {name for layer in found.layers for name in layer.layers} <= known
    assert any("Conv" in layer.op_type for layer in found.layers)


def test_a_branch_counts_as_one_kernel(tmp_path: Path) -> None:
    """What runs inside a branch is in the branch's own time."""

    def branch(kind: str) -> onnx.GraphProto:
        out = helper.make_tensor_value_info(kind, TensorProto.FLOAT, None)
        return helper.make_graph([helper.make_node(kind, ["x"], [kind])], kind, [], [out])

    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], name="most", keepdims=0),
        helper.make_node("Greater", ["m", "zero"], ["flag"], name="ask"),
        helper.make_node(
            "If", ["flag"], ["y"], "choose", then_branch=branch("Exp"), else_branch=branch("Abs")
        ),
    ]
    artifact = save(tmp_path / "model.onnx", nodes, [constant("zero", 0, "float32")])
    found = profiled(artifact, tmp_path / "scratch")
    assert [layer.op_type for layer in found.layers] == ["ReduceMax", "Greater", "If"]
    assert found.layers[-1].layers == ("choose",)


def test_a_model_that_cannot_run_is_an_error(tmp_path: Path) -> None:
    artifact = float_model(tmp_path / "model.onnx")
    (tmp_path / "scratch").mkdir()
    with pytest.raises(ConversionError, match="cannot run"):
        RUNNER.profile(artifact, [np.zeros((1, 3, 2, 2), np.float32)], 1, 1, tmp_path / "scratch")
