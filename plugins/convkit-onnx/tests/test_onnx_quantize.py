"""onnxruntime.int8 and onnxruntime.int8-dynamic: numbers, truth, and layers that stay in float."""

from __future__ import annotations

import collections
import platform
from dataclasses import replace

import pytest

np = pytest.importorskip("numpy")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime", minversion="1.32")
pytest.importorskip("safetensors")

import onnx_quantizable as quantizable  # noqa: E402

from convkit.errors import CalibrationError, ConversionError, PrecisionError, UsageError  # noqa: E402
from convkit.plugin import CalibrationData, QuantRecipe, QuantRule, sample_key  # noqa: E402
from convkit_onnx import saturation  # noqa: E402
from convkit_onnx.dynamic_int8 import DynamicInt8  # noqa: E402
from convkit_onnx.inspector import OnnxInspector  # noqa: E402
from convkit_onnx.runner import OnnxRuntimeRunner  # noqa: E402
from convkit_onnx.static_int8 import StaticInt8  # noqa: E402

VNNI = frozenset({"avx2", "avx512_vnni"})


def defaults(edge, **changes):
    return {**{o.name: o.default for o in edge.options}, **changes}


@pytest.fixture
def given(artifact, tmp_path):
    def build(proto):
        onnx.save(proto, tmp_path / "m.onnx")
        return artifact(tmp_path / "m.onnx")

    return build


@pytest.fixture
def data(tmp_path):
    from safetensors.numpy import save_file

    def make(source, count=24):
        path = tmp_path / "calibration.safetensors"
        drawn = quantizable.samples(source, count)
        arrays = {sample_key(n, i): a for n, s in enumerate(drawn) for i, a in enumerate(s)}
        save_file(arrays, str(path))
        return CalibrationData(path, count, "", "numbers")

    return make


@pytest.fixture
def quantize(context, data, tmp_path):
    turn = iter(range(100))

    def run(edge, source, *float_layers, features=VNNI, **options):
        recipe = QuantRecipe("test", (QuantRule(float_layers, "test"),)) if float_layers else None
        here = tmp_path / f"work{next(turn)}"
        here.mkdir()
        used = replace(
            context,
            workdir=here,
            calibration=data(source) if edge.needs_calibration else None,
            recipe=recipe,
            cpu_features=features,
            threads=1,
        )
        return edge.convert(source, here / "q.onnx", defaults(edge, **options), used)

    return run


def look(artifact):
    return OnnxInspector().inspect(artifact.path, artifact.read)


def sqnr(source, result):
    """The worst output's, over fresh samples, run with all optimizations."""
    runner = OnnxRuntimeRunner()
    float_, integer = runner.open(source, 1), runner.open(result, 1)
    pairs = [(float_.run(s), integer.run(s)) for s in quantizable.samples(source, 8, seed=9)]
    values = []
    for index in range(len(source.outputs)):
        a = np.concatenate([p[0][index].ravel() for p in pairs])
        b = np.concatenate([p[1][index].ravel() for p in pairs])
        values.append(10 * np.log10(np.square(a).sum() / np.square(a - b).sum()))
    return min(values)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"format": "qoperator"},
        {"activations": "QInt8"},
        {"activations": "QUInt16"},
        {"activations": "QInt16", "symmetric": True},
        {"weights": "QUInt8", "per_channel": False},
        {"method": "Percentile", "percentile": 99.9},
        {"method": "Entropy"},
        {"preprocess": False},
        {"reduce_range": "on"},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["residual", "encoder"])
def test_static_int8(given, quantize, name, options):
    source = given(quantizable.MODELS[name]())
    result = quantize(StaticInt8(), source, **options)
    seen = look(result)
    assert str(seen.state) == "onnx-int8"
    assert [(s.name, s.shape, s.dtype) for s in result.inputs] == [
        (s.name, s.shape, s.dtype) for s in source.inputs
    ]
    assert [s.name for s in result.outputs] == [s.name for s in source.outputs]
    assert result.traits["quantized"] == options.get("format", "qdq")
    wide = "16" in options.get("activations", "")
    assert sqnr(source, result) > (30 if wide else 15)
    signed = options.get("activations") == "QInt8"
    assert (seen.integer_macs == 0) == (wide or signed)
    assert any("signed activations" in note for note in result.notes) == signed
    assert any("16-bit" in note for note in result.notes) == wide


@pytest.mark.parametrize("name", ["residual", "encoder", "lstm"])
@pytest.mark.parametrize("weights", ["QInt8", "QUInt8"])
def test_dynamic_int8(given, quantize, name, weights):
    source = given(quantizable.MODELS[name]())
    assert not DynamicInt8().check(source, defaults(DynamicInt8()))
    result = quantize(DynamicInt8(), source, weights=weights)
    assert str(look(result).state) == "onnx-int8-dynamic"
    assert sqnr(source, result) > 20


def optimized(path, folder):
    """Operators of the graph that ONNX Runtime really runs, before layouts are changed."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(folder / "optimized.onnx").graph.node
    return collections.Counter(node.op_type for node in nodes)


HEAVY = ("Conv", "FusedConv", "ConvTranspose", "MatMul", "Gemm")


@pytest.mark.parametrize("activations", ["QUInt8", "QInt8", "QUInt16"])
@pytest.mark.parametrize("name", ["residual", "encoder"])
def test_nothing_is_called_integer_that_the_runtime_computes_in_float(
    given, quantize, tmp_path, name, activations
):
    result = quantize(StaticInt8(), given(quantizable.MODELS[name]()), activations=activations)
    layers = look(result).layers
    real = optimized(result.path, tmp_path)
    # with 16 bits, weights are expanded inside a MatMulNBits, and multiplied in float
    in_float = sum(real[kind] for kind in (*HEAVY, "MatMulNBits"))
    claimed = sum(x.op_type in HEAVY and x.compute == "float32" for x in layers)
    if activations == "QInt8":  # on x86 most of them are in float, which is all that is claimed
        assert claimed >= in_float
        return
    assert claimed == in_float
    if activations == "QUInt8":
        for kind in ("Sigmoid", "Mul", "Add", "Softmax", "Concat", "GlobalAveragePool"):
            claimed = sum(x.op_type == kind and x.compute == "float32" for x in layers)
            assert claimed == real[kind], kind


def test_float_islands_leave_conversions_out(given, quantize):
    seen = look(quantize(StaticInt8(), given(quantizable.residual())))
    assert seen.float_islands == ("/up",)  # there is no transposed convolution in integers
    assert {"QuantizeLinear", "DequantizeLinear"} <= set(seen.operators)


@pytest.mark.parametrize(
    ("edge", "name", "options"),
    [
        (StaticInt8(), "residual", {}),
        (StaticInt8(), "residual", {"format": "qoperator"}),
        (StaticInt8(), "encoder", {}),
        (StaticInt8(), "encoder", {"preprocess": False}),
        (DynamicInt8(), "residual", {}),
        (DynamicInt8(), "encoder", {}),
    ],
    ids=str,
)
def test_every_layer_can_be_kept_in_float(given, quantize, edge, name, options):
    """Whatever fusion made of it: each alone loses its own multiply-accumulates, and no more than
    those of its twin that is computed with it."""
    source = given(quantizable.MODELS[name]())
    layers = look(source).layers
    whole = look(quantize(edge, source, **options)).integer_macs
    heavy = [x for x in layers if x.op_type in ("Conv", "MatMul", "Gemm") and x.parameter_count]
    light = [x for x in heavy if 2 * x.macs < whole]  # without the others it is no int8 model
    assert len(light) >= 2
    for layer in light:
        lost = whole - look(quantize(edge, source, layer.name, **options)).integer_macs
        assert lost in (layer.macs, 2 * layer.macs), layer.name


def test_products_of_activations_are_told_where_they_stay_integers(given, quantize):
    result = quantize(StaticInt8(), given(quantizable.encoder()), "/scores")
    assert any("/scores" in note and "two activations" in note for note in result.notes)


def test_nodes_without_names_and_old_opsets(given, quantize):
    source = given(quantizable.residual(opset=11, named=False))
    names = [x.name for x in look(source).layers if x.op_type == "Conv"]
    assert names == ["Conv_0", "Conv_3"]
    result = quantize(StaticInt8(), source, "Conv_0")
    assert any("from 11 to 13" in note for note in result.notes)
    assert result.traits["opset"] == look(result).traits["opset"] == 13
    assert "Conv_0" in look(result).float_islands
    assert sqnr(source, result) > 15


def test_layers_that_fusion_swallows_keep_what_swallowed_them(given, quantize):
    source = given(quantizable.residual())
    seen = look(quantize(StaticInt8(), source, "/n1"))
    assert "BatchNormalization" not in seen.operators
    assert "/c1" in seen.float_islands


def test_layers_that_are_folded_away_are_told(given, quantize):
    proto = quantizable.residual()
    graph = proto.graph
    graph.node.insert(0, onnx.helper.make_node("Identity", ["wg"], ["wi"], name="/wi"))
    graph.node[-1].input[1] = "wi"
    result = quantize(StaticInt8(), given(proto), "/wi")
    assert any("/wi" in note and "folded away" in note for note in result.notes)


def test_unknown_layers_are_refused(given, quantize):
    with pytest.raises(ConversionError, match="/c3") as error:
        quantize(StaticInt8(), given(quantizable.residual()), "/c3")
    assert "Did you mean" in error.value.hint


def test_masks_are_no_range(given, quantize):
    result = quantize(StaticInt8(), given(quantizable.encoder()))
    assert any("/masked" in note for note in result.notes)
    assert not any(
        "/masked" in note for note in quantize(StaticInt8(), given(quantizable.residual())).notes
    )


def test_static_int8_of_a_recurrent_model_is_refused_beforehand(given, quantize):
    source = given(quantizable.lstm())
    (obstacle,) = StaticInt8().check(source, defaults(StaticInt8()))
    assert obstacle.layers == ("/y",)
    assert "onnx-int8-dynamic" in obstacle.remedy
    with pytest.raises(PrecisionError):
        quantize(StaticInt8(), source)
    for name in ("residual", "encoder"):
        good = given(quantizable.MODELS[name]())
        assert StaticInt8().check(good, defaults(StaticInt8())) == ()


def test_recurrent_layers_of_another_layout_stay_in_float(given, quantize):
    """The tool would drop the attribute. ONNX Runtime cannot run such a model at all, so that the
    quantizer has nothing to make of it."""
    source = given(quantizable.lstm(layout=1))
    with pytest.raises((ConversionError, PrecisionError)):
        quantize(DynamicInt8(), source)


def test_operators_can_be_chosen(given, quantize):
    source = given(quantizable.residual())
    seen = look(quantize(StaticInt8(), source, operators="Conv"))
    kinds = {x.op_type for x in seen.layers if x.compute == "int8"}
    assert "Conv" in kinds and "Gemm" not in kinds
    for wrong, words in (("Convo", "Convo"), ("LSTM", "cannot quantize"), ("MatMul", "has no")):
        with pytest.raises(UsageError, match=words):
            quantize(StaticInt8(), source, operators=wrong)
    encoder = given(quantizable.encoder())
    with pytest.raises(PrecisionError):
        quantize(DynamicInt8(), encoder, operators="Gather")


@pytest.mark.parametrize(
    "options",
    [
        {"activations": "QUInt16", "format": "qoperator"},
        {"activations": "QInt8", "weights": "QUInt8"},
    ],
)
def test_options_that_contradict_each_other(given, quantize, options):
    with pytest.raises(UsageError):
        quantize(StaticInt8(), given(quantizable.residual()), **options)


def test_calibration_that_does_not_fit(given, context, tmp_path):
    from safetensors.numpy import save_file

    source = given(quantizable.residual())
    save_file({sample_key(0, 0): np.zeros((1, 3, 16, 16), "float32")}, tmp_path / "c.safetensors")
    short = CalibrationData(tmp_path / "c.safetensors", 1, "", "numbers")
    for calibration, error in ((short, CalibrationError), (None, CalibrationError)):
        used = replace(context, calibration=calibration, cpu_features=VNNI)
        with pytest.raises(error):
            StaticInt8().convert(source, tmp_path / "q.onnx", defaults(StaticInt8()), used)
    assert not (tmp_path / "q.onnx").exists()


X86 = pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64"), reason="about x86 processors"
)


@X86
@pytest.mark.parametrize(
    ("choice", "activations", "weights", "features", "reduced"),
    [
        ("auto", "QUInt8", "QInt8", {"avx2"}, True),
        ("auto", "QUInt8", "QInt8", {"avx2", "avx512f"}, True),
        ("auto", "QUInt8", "QInt8", {"avx2", "avx_vnni"}, False),
        ("auto", "QUInt8", "QInt8", {"avx2", "avx512_vnni"}, False),
        ("auto", "QUInt8", "QInt8", set(), True),
        ("auto", "QInt8", "QInt8", {"avx2"}, True),
        ("auto", "QUInt8", "QUInt8", {"avx2"}, False),
        ("auto", "QUInt16", "QInt8", {"avx2"}, False),
        ("on", "QUInt8", "QInt8", {"avx2", "avx512_vnni"}, True),
        ("off", "QUInt8", "QInt8", {"avx2"}, False),
    ],
)
def test_range_is_reduced_where_sums_clip(choice, activations, weights, features, reduced):
    found, why = saturation.reduced_range(choice, activations, weights, features)
    assert found is reduced
    assert "reduce_range" in why or "as asked for" in why


@X86
def test_reduced_range_reaches_the_weights_and_the_report(given, quantize):
    source = given(quantizable.residual())
    widest = {}
    for features in (frozenset({"avx2"}), VNNI):
        result = quantize(StaticInt8(), source, features=features)
        weights = [
            onnx.numpy_helper.to_array(t)
            for t in onnx.load(result.path).graph.initializer
            if t.data_type == onnx.TensorProto.INT8 and len(t.dims) == 4
        ]
        widest[features] = max(int(np.abs(w.astype(int)).max()) for w in weights)
        assert result.traits["reduce_range"] is (features != VNNI)
        assert "reduce_range" in result.notes[0]
    assert widest == {frozenset({"avx2"}): 64, VNNI: 127}


def test_weights_alone_in_integers_are_not_called_dynamic(tmp_path, artifact):
    node = onnx.helper.make_node
    nodes = [
        node("DequantizeLinear", ["q", "s", "z"], ["w"]),
        node("MatMul", ["x", "w"], ["y"]),
    ]
    info = onnx.helper.make_tensor_value_info
    array = onnx.numpy_helper.from_array
    proto = quantizable.model(
        nodes,
        [info("x", 1, [2, 64])],
        [info("y", 1, [2, 64])],
        [
            array(np.ones((64, 64), "int8"), "q"),
            array(np.float32(0.01), "s"),
            array(np.int8(0), "z"),
        ],
    )
    onnx.save(proto, tmp_path / "w.onnx")
    seen = OnnxInspector().inspect(tmp_path / "w.onnx", artifact(tmp_path / "w.onnx").read)
    assert str(seen.state) == "onnx-int8-weights"
    assert seen.integer_macs == 0
