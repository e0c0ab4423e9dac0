"""onnx.fix-shapes: fixed inputs, inferred outputs, and explanations where a size is missing."""

from __future__ import annotations

from dataclasses import replace

import pytest

np = pytest.importorskip("numpy")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from convkit.errors import ConversionError  # noqa: E402
from convkit.plugin import ReadOptions  # noqa: E402
from convkit_onnx.fix_shapes import FixShapes  # noqa: E402
from convkit_onnx.runner import OnnxRuntimeRunner  # noqa: E402

F = TensorProto.FLOAT
node, value = helper.make_node, helper.make_tensor_value_info


def stated(source, **shapes):
    return replace(source, read=ReadOptions(shapes=shapes))


@pytest.fixture
def given(artifact, tmp_path):
    def build(nodes, inputs, outputs, constants=()):
        graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
        opsets = [helper.make_opsetid("", 17)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "m.onnx")
        return artifact(tmp_path / "m.onnx")

    return build


def fix(source, path, context, batch=1):
    return FixShapes().convert(source, path, {"batch": batch}, context)


def test_stated_sizes_reach_the_outputs(saved, artifact, context, tmp_path):
    source = stated(artifact(saved("cnn_dynamic")), image=(1, 3, 12, 10))
    result = fix(source, tmp_path / "f.onnx", context)
    seen = artifact(result.path)
    assert [s.shape for s in seen.inputs] == [(1, 3, 12, 10), (1, 5)]
    assert [s.shape for s in seen.outputs] == [(1, 4, 12, 10), (1, 5)]
    assert result.inputs == seen.inputs and result.outputs == seen.outputs
    assert seen.traits["dynamic"] is False and result.traits["dynamic"] is False
    inputs = [np.random.default_rng(0).random(s.shape).astype("float32") for s in seen.inputs]
    wanted = OnnxRuntimeRunner().open(source, 1).run(inputs)
    for a, b in zip(OnnxRuntimeRunner().open(result, 1).run(inputs), wanted, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("batch", [1, 4])
def test_unknown_batch(saved, artifact, context, tmp_path, batch):
    result = fix(artifact(saved("mlp")), tmp_path / "f.onnx", context, batch)
    assert result.inputs[0].shape == (batch, 32)
    assert result.outputs[0].shape == (batch, 8)


def test_one_symbol_has_one_size(given, context, tmp_path):
    source = given(
        [node("Add", ["a", "b"], ["y"])],
        [value("a", F, ["n", "t"]), value("b", F, ["n", "t"])],
        [value("y", F, ["n", "t"])],
    )
    result = fix(stated(source, b=(2, 7)), tmp_path / "f.onnx", context)
    assert [s.shape for s in (*result.inputs, *result.outputs)] == [(2, 7)] * 3
    with pytest.raises(ConversionError, match="b cannot be 3x7"):
        fix(stated(source, a=(2, 7), b=(3, 7)), tmp_path / "g.onnx", context)


def test_a_missing_size_is_named_beforehand(saved, artifact, context, tmp_path):
    source = artifact(saved("cnn_dynamic"))
    (obstacle,) = FixShapes().check(source, {"batch": 1})
    assert "image has no fixed size on axis 2 (h)" in obstacle.what
    assert "--shape image=" in obstacle.remedy
    with pytest.raises(ConversionError, match="axis 2"):
        fix(source, tmp_path / "f.onnx", context)
    assert not (tmp_path / "f.onnx").exists()
    assert FixShapes().check(stated(source, image=(1, 3, 8, 8)), {"batch": 1}) == ()


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (1, 3, 8)])
def test_a_size_that_the_file_contradicts(saved, artifact, context, tmp_path, shape):
    with pytest.raises(ConversionError, match="the model says nx3xhxw"):
        fix(stated(artifact(saved("cnn_dynamic")), image=shape), tmp_path / "f.onnx", context)


def test_a_size_that_the_model_cannot_take(given, context, tmp_path):
    """The axis is open, but a weight behind it is not."""
    source = given(
        [node("MatMul", ["x", "w"], ["y"])],
        [value("x", F, ["n", "d"])],
        [value("y", F, ["n", 3])],
        [numpy_helper.from_array(np.ones((4, 3), "float32"), "w")],
    )
    assert fix(stated(source, x=(1, 4)), tmp_path / "f.onnx", context).outputs[0].shape == (1, 3)
    with pytest.raises(ConversionError, match="does not take x 1x5"):
        fix(stated(source, x=(1, 5)), tmp_path / "g.onnx", context)


def test_an_output_that_depends_on_the_data_stays_unknown(given, artifact, context, tmp_path):
    source = given(
        [node("NonZero", ["x"], ["where"])],
        [value("x", F, ["n", 4])],
        [value("where", TensorProto.INT64, [2, "found"])],
    )
    result = fix(source, tmp_path / "f.onnx", context)
    assert result.outputs[0].shape == (2, "found")
    assert artifact(result.path).traits["dynamic"] is False


def test_shapes_inside_branches_follow(given, context, tmp_path):
    def branch(kind):
        return helper.make_graph([node(kind, ["x"], [kind])], kind, [], [value(kind, F, ["n", 4])])

    source = given(
        [node("If", ["yes"], ["y"], then_branch=branch("Relu"), else_branch=branch("Neg"))],
        [value("x", F, ["n", 4]), value("yes", TensorProto.BOOL, [])],
        [value("y", F, ["n", 4])],
    )
    result = fix(source, tmp_path / "f.onnx", context, batch=3)
    assert result.outputs[0].shape == (3, 4)
    x = np.random.default_rng(0).standard_normal((3, 4)).astype("float32")
    (out,) = OnnxRuntimeRunner().open(result, 1).run([x, np.array(False)])
    np.testing.assert_array_equal(out, -x)
