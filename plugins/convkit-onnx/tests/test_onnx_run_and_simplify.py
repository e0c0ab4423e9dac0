"""onnxruntime.run and onnxslim.simplify."""

from __future__ import annotations

from dataclasses import replace

import pytest

np = pytest.importorskip("numpy")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxslim")

from onnx.reference import ReferenceEvaluator  # noqa: E402

from convkit.errors import ConversionError  # noqa: E402
from convkit_onnx.inspector import OnnxInspector  # noqa: E402
from convkit_onnx.runner import OnnxRuntimeRunner  # noqa: E402
from convkit_onnx.simplify import Slim  # noqa: E402

RUNNER = OnnxRuntimeRunner()


def sample(artifact, seed=0):
    rng = np.random.default_rng(seed)
    arrays = []
    for spec in artifact.inputs:
        shape = [d if isinstance(d, int) else 2 for d in spec.shape]
        floats = rng.standard_normal(shape).astype("float32")
        arrays.append(rng.integers(0, 9, shape) if spec.dtype == "int64" else floats)
    return arrays


@pytest.mark.parametrize("name", ["cnn", "mlp", "embedding"])
def test_runner_agrees_with_the_reference(saved, artifact, name):
    model = artifact(saved(name))
    inputs = sample(model)
    feeds = {spec.name: array for spec, array in zip(model.inputs, inputs, strict=True)}
    wanted = ReferenceEvaluator(str(model.path)).run(None, feeds)
    got = RUNNER.open(model, 1).run(inputs)
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_order_is_the_artifacts(saved, artifact):
    model = artifact(saved("cnn"))
    inputs = sample(model)
    turned = replace(model, inputs=model.inputs[::-1], outputs=model.outputs[::-1])
    wanted = RUNNER.open(model, 1).run(inputs)
    got = RUNNER.open(turned, 0).run(inputs[::-1])
    for a, b in zip(got, wanted[::-1], strict=True):
        np.testing.assert_array_equal(a, b)


def test_unexpected_interface_is_an_error(saved, artifact):
    model = artifact(saved("cnn"))
    renamed = replace(model, inputs=(replace(model.inputs[0], name="nope"), model.inputs[1]))
    with pytest.raises(ConversionError):
        RUNNER.open(renamed, 1)


def test_unknown_operator_is_a_conversion_error(proto, artifact, saved, tmp_path):
    model = artifact(saved("mlp"))
    broken = proto("mlp")
    broken.graph.node[1].op_type = "NoSuchOperator"
    (tmp_path / "b.onnx").write_bytes(broken.SerializeToString())
    with pytest.raises(ConversionError) as error:
        RUNNER.open(replace(model, path=tmp_path / "b.onnx"), 1)
    assert error.value.__cause__ is not None


@pytest.mark.parametrize("name", ["cnn", "mlp", "embedding"])
def test_simplify_keeps_interface_and_numbers(saved, artifact, context, tmp_path, name):
    source = artifact(saved(name))
    before = source.path.read_bytes()
    result = Slim().convert(source, tmp_path / "slim.onnx", {}, context)
    assert source.path.read_bytes() == before
    seen = artifact(result.path)
    assert [s.name for s in seen.inputs] == [s.name for s in source.inputs]
    assert [s.name for s in seen.outputs] == [s.name for s in source.outputs]
    assert result.traits["simplified"] is True
    assert seen.traits["opset"] == source.traits["opset"] == result.traits["opset"]
    inputs = sample(source)
    wanted = RUNNER.open(source, 1).run(inputs)
    for a, b in zip(RUNNER.open(result, 1).run(inputs), wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_simplify_folds_shape_arithmetic_and_repeats_itself(saved, artifact, context, tmp_path):
    source = artifact(saved("cnn"))
    outputs = [tmp_path / "one.onnx", tmp_path / "two.onnx"]
    for output in outputs:
        Slim().convert(source, output, {}, context)
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    kinds = {node.op_type for node in onnx.load(outputs[0]).graph.node}
    assert "Shape" not in kinds
    assert "Conv" in kinds


def test_simplify_refuses_a_changed_interface(saved, artifact, context, tmp_path, monkeypatch):
    import onnxslim

    def rename(model):
        model.graph.input[0].name = "renamed"
        model.graph.node[0].input[0] = "renamed"
        return model

    monkeypatch.setattr(onnxslim, "slim", rename)
    with pytest.raises(ConversionError, match="interface"):
        Slim().convert(artifact(saved("cnn")), tmp_path / "s.onnx", {}, context)
    assert not (tmp_path / "s.onnx").exists()


def test_external_weights_are_read(saved, artifact, context, tmp_path):
    path = saved("mlp", "e.onnx", save_as_external_data=True, location="e.data", size_threshold=0)
    source = artifact(path)
    result = Slim().convert(source, tmp_path / "s.onnx", {}, context)
    inputs = sample(source)
    wanted = RUNNER.open(source, 1).run(inputs)
    np.testing.assert_allclose(RUNNER.open(result, 1).run(inputs)[0], wanted[0], atol=1e-5)
    assert OnnxInspector().inspect(result.path, source.read).parameter_bytes["float32"] > 8000
