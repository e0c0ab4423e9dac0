"""onnxruntime.run shows all intermediate results."""

from __future__ import annotations

import pytest

np = pytest.importorskip("numpy")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx.reference import ReferenceEvaluator  # noqa: E402

from convkit.errors import ConversionError  # noqa: E402
from convkit.plugin import Tracer  # noqa: E402
from convkit_onnx.inspector import OnnxInspector  # noqa: E402
from convkit_onnx.runner import OnnxRuntimeRunner  # noqa: E402

RUNNER = OnnxRuntimeRunner()


def sample(artifact, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(spec.shape).astype("float32") for spec in artifact.inputs]


def test_it_is_a_tracer():
    assert isinstance(RUNNER, Tracer)


@pytest.mark.parametrize("external", [False, True])
def test_every_float_result_in_order(saved, artifact, proto, external):
    options = {"save_as_external_data": True, "location": "t.data", "size_threshold": 0}
    source = artifact(saved("cnn", "t.onnx", **(options if external else {})))
    inputs = sample(source)
    traced = list(RUNNER.trace(source, inputs, 1))
    layers = {x.name: x for x in OnnxInspector().inspect(source.path, source.read).layers}
    assert [t.layer for t in traced] == [name for name in layers if name != "/Shape"]
    assert all(t.tensor in layers[t.layer].outputs for t in traced)
    assert [t.scope for t in traced] == [layers[t.layer].scope for t in traced]
    assert traced[0].scope == "stem" and traced[0].op_type == "Conv"
    names = [t.tensor for t in traced]
    model = proto("cnn")
    shown = {v.name for v in model.graph.output}
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None)
        for n in names
        if n not in shown
    )
    feeds = {spec.name: x for spec, x in zip(source.inputs, inputs, strict=True)}
    wanted = ReferenceEvaluator(model).run(names, feeds)
    for t, value in zip(traced, wanted, strict=True):
        assert t.value.dtype == np.float32
        np.testing.assert_allclose(t.value, value, atol=1e-5)


def test_outputs_are_those_of_a_run(saved, artifact):
    source = artifact(saved("cnn"))
    inputs = sample(source)
    by_name = {t.tensor: t.value for t in RUNNER.trace(source, inputs, 1)}
    for spec, value in zip(source.outputs, RUNNER.open(source, 1).run(inputs), strict=True):
        np.testing.assert_allclose(by_name[spec.name], value, atol=1e-5)


@pytest.mark.parametrize("style", ["QDQ", "QOperator"])
def test_integers_are_shown_as_the_floats_that_they_mean(saved, artifact, tmp_path, style):
    quantization = pytest.importorskip("onnxruntime.quantization")
    source = artifact(saved("cnn"))

    class Reader:
        def __init__(self):
            self.left = [sample(source, seed) for seed in range(8)]

        def get_next(self):
            if not self.left:
                return None
            return dict(zip((s.name for s in source.inputs), self.left.pop(), strict=True))

    quantization.quantize_static(
        str(source.path),
        str(tmp_path / "q.onnx"),
        Reader(),
        quant_format=getattr(quantization.QuantFormat, style),
        per_channel=True,
    )
    integers = artifact(tmp_path / "q.onnx")
    inputs = sample(source, 3)
    wanted = {t.tensor: t.value for t in RUNNER.trace(source, inputs, 1)}
    traced = list(RUNNER.trace(integers, inputs, 1))
    # ReLU is folded into the quantization of its convolution, so what follows that counts.
    near = {}
    for t in traced:
        name = t.tensor.removesuffix("_quantized").removesuffix("_DequantizeLinear_Output")
        near[name] = t.value
    for name in ("r", "map", "logits"):
        error = np.abs(near[name] - wanted[name]).max()
        assert error < 0.05 * np.abs(wanted[name]).max(), name
    assert all(t.value.dtype == np.float32 for t in traced)


def test_a_model_that_cannot_run_is_an_error(saved, artifact):
    source = artifact(saved("cnn"))
    with pytest.raises(ConversionError, match="cannot run"):
        list(RUNNER.trace(source, [np.zeros((1, 2, 8, 8), "float32"), sample(source)[1]], 1))


def test_scales_that_are_inputs_and_models_without_floats(artifact, tmp_path):
    helper, kinds = onnx.helper, onnx.TensorProto
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["x", "scale"], ["q"]),
            helper.make_node("Add", ["n", "n"], ["twice"]),
        ],
        "g",
        [
            value("x", kinds.FLOAT, [3]),
            value("scale", kinds.FLOAT, []),
            value("n", kinds.INT64, [2]),
        ],
        [value("q", kinds.UINT8, [3]), value("twice", kinds.INT64, [2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "m.onnx")
    source = artifact(tmp_path / "m.onnx")
    x, n = np.array([0.5, 1.0, 1.6], "float32"), np.array([1, 2])
    (traced,) = RUNNER.trace(source, [x, np.array(0.5, "float32"), n], 1)
    np.testing.assert_allclose(traced.value, [0.5, 1.0, 1.5])
    del graph.node[0], graph.input[:2], graph.output[0]
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "m.onnx")
    assert list(RUNNER.trace(artifact(tmp_path / "m.onnx"), [n], 1)) == []
