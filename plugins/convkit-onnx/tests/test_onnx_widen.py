"""Half precision and integers written out in float32: the numbers, the operators, the path."""

from __future__ import annotations

import itertools

import pytest

np = pytest.importorskip("numpy")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime", minversion="1.32")
pytest.importorskip("safetensors")

import onnx_quantizable as quantizable  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnxruntime.quantization import (  # noqa: E402
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

import convkit  # noqa: E402
from convkit.errors import NoPathError, NumericError, UsageError  # noqa: E402
from convkit.plugin import Converter, ReadOptions, State  # noqa: E402
from convkit.testing import ConverterContract  # noqa: E402
from convkit_onnx import plugin  # noqa: E402
from convkit_onnx.inspector import OnnxInspector  # noqa: E402

HALF = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
OF_INTEGERS = ("QLinear", "Integer", "Quantize")
node, info = helper.make_node, helper.make_tensor_value_info


def edge(name: str) -> Converter:
    return next(c for c in plugin.convkit_converters() if c.name == name)


def half(proto):
    """Every float tensor as float16, inputs and outputs too."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    return convert_float_to_float16(proto, keep_io_types=False, op_block_list=[])


def branching():
    """Half precision wherever a file can hold it: a branch with a constant of its own, casts, a
    filler, a bfloat16 weight; and an integer input beside."""
    then = helper.make_graph(
        [
            node("Constant", [], ["k"], value=numpy_helper.from_array(np.float16([[1.5]]))),
            node("Mul", ["h", "k"], ["t"]),
        ],
        "then",
        [],
        [info("t", TensorProto.FLOAT16, [2, 4])],
    )
    other = helper.make_graph(
        [node("Neg", ["h"], ["e"])], "else", [], [info("e", TensorProto.FLOAT16, [2, 4])]
    )
    filler = numpy_helper.from_array(np.float16([0.25]))
    nodes = [
        node("Cast", ["ids"], ["f"], to=TensorProto.FLOAT16),
        node("Add", ["f", "x"], ["s"]),
        node("MatMul", ["s", "w"], ["m"]),
        node("Cast", ["b"], ["b16"], to=TensorProto.FLOAT16),
        node("ConstantOfShape", ["shape"], ["fill"], value=filler),
        node("Sum", ["m", "b16", "fill"], ["h"]),
        node("If", ["flag"], ["y"], then_branch=then, else_branch=other),
    ]
    rng = np.random.default_rng(1)
    weights = [
        numpy_helper.from_array(rng.standard_normal((4, 4)).astype(np.float16), "w"),
        helper.make_tensor("b", TensorProto.BFLOAT16, [4], [0.5, -1.25, 3.0, 0.0078125]),
        numpy_helper.from_array(np.int64([2, 4]), "shape"),
    ]
    inputs = [
        info("ids", TensorProto.INT64, [2, 4]),
        info("x", TensorProto.FLOAT16, [2, 4]),
        info("flag", TensorProto.BOOL, []),
    ]
    graph = helper.make_graph(nodes, "g", inputs, [info("y", TensorProto.FLOAT16, [2, 4])], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class Reader(CalibrationDataReader):
    def __init__(self, artifact, count=12):
        names = [spec.name for spec in artifact.inputs]
        drawn = quantizable.samples(artifact, count)
        self._rest = iter([dict(zip(names, s, strict=True)) for s in drawn])

    def get_next(self):
        return next(self._rest, None)


@pytest.fixture
def write(artifact, tmp_path):
    """A small model in one of the forms that ONNX Runtime's quantizer knows."""

    def make(name, form):
        float_path, path = tmp_path / "float.onnx", tmp_path / f"{name}.onnx"
        onnx.save(quantizable.MODELS[name](), float_path)
        if form == "dynamic":
            quantize_dynamic(float_path, path, weight_type=QuantType.QInt8)
            return path
        quantize_static(
            float_path,
            path,
            Reader(artifact(float_path)),
            quant_format=getattr(QuantFormat, form),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=form == "QDQ",
        )
        return path

    return make


def outputs(path, given):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    types = {"tensor(float)": "float32", "tensor(float16)": "float16"}
    return session.run(
        None,
        {
            i.name: value.astype(types.get(i.type, value.dtype))
            for i, value in zip(session.get_inputs(), given, strict=True)
        },
    )


def kinds(model):
    """Element types of all tensors that the file speaks of."""
    from convkit_onnx import reading

    values = itertools.chain.from_iterable(
        (*g.input, *g.output, *g.value_info) for g in reading.graphs(model.graph)
    )
    types = {v.type.tensor_type.elem_type for v in values}
    types |= {t.data_type for t in reading.tensors(model)}
    nodes = [n for g in reading.graphs(model.graph) for n in g.node]
    return types | {a.i for n in nodes for a in n.attribute if n.op_type == "Cast"}


def test_half_precision_becomes_float_everywhere(tmp_path):
    onnx.save(branching(), tmp_path / "m.onnx")
    result = convkit.convert(tmp_path / "m.onnx", to="onnx", output_dir=tmp_path / "out")
    (output,) = result.outputs
    assert [h.converter for h in output.manifest.hops] == ["onnx.widen"]
    assert output.manifest.hops[-1].verification.verdict == "ok"
    wide = onnx.load(output.path)
    onnx.checker.check_model(wide, full_check=True)
    assert not kinds(wide).intersection(HALF)
    rng = np.random.default_rng(0)
    for flag in (True, False):
        given = [rng.integers(0, 5, (2, 4)), rng.standard_normal((2, 4)), np.array(flag)]
        (before,), (after,) = (outputs(p, given) for p in (tmp_path / "m.onnx", output.path))
        assert (before.dtype, after.dtype) == (np.float16, np.float32)
        np.testing.assert_allclose(after, before.astype("float32"), rtol=4e-3, atol=4e-3)


def test_weights_are_the_same_numbers(tmp_path):
    proto = half(quantizable.residual())
    onnx.save(proto, tmp_path / "m.onnx")
    result = convkit.convert(tmp_path / "m.onnx", to="onnx", output_dir=tmp_path / "out")
    wide = {
        t.name: numpy_helper.to_array(t)
        for t in onnx.load(result.outputs[0].path).graph.initializer
    }
    for tensor in proto.graph.initializer:
        array = numpy_helper.to_array(tensor)
        assert array.dtype == np.float16
        np.testing.assert_array_equal(wide[tensor.name], array.astype(np.float32))


def test_bits_read_as_another_type_are_refused(tmp_path):
    nodes = [node("BitCast", ["x"], ["i"], to=TensorProto.INT16), node("Cast", ["i"], ["y"], to=1)]
    ends = [info("x", TensorProto.FLOAT16, [4])], [info("y", TensorProto.FLOAT, [4])]
    graph = helper.make_graph(nodes, "g", *ends)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 26)])
    onnx.save(model, tmp_path / "m.onnx")
    seen = OnnxInspector().inspect(tmp_path / "m.onnx", ReadOptions())
    found = convkit.plugin.Artifact(tmp_path / "m.onnx", seen.state, seen.inputs, seen.outputs)
    (obstacle,) = edge("onnx.widen").check(found, {})
    assert (obstacle.what, obstacle.layers) == ("BitCast", ("BitCast_0",))


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("residual", "QOperator"),
        ("residual", "QDQ"),
        ("residual", "dynamic"),
        ("encoder", "QDQ"),
        ("encoder", "dynamic"),
    ],
)
def test_integers_become_the_same_numbers_in_float(name, form, write, artifact, tmp_path):
    path = write(name, form)
    before = artifact(path)
    assert before.state.precision != "fp32"
    result = convkit.convert(path, to="onnx", output_dir=tmp_path / "out")
    (output,) = result.outputs
    assert output.manifest.hops[-1].verification.verdict == "ok"
    wide = onnx.load(output.path)
    onnx.checker.check_model(wide)
    left = [n.op_type for n in wide.graph.node if any(k in n.op_type for k in OF_INTEGERS)]
    assert not left
    assert not {n.domain for n in wide.graph.node} & {"com.microsoft"}
    narrow = {TensorProto.INT8, TensorProto.UINT8, TensorProto.INT32}
    assert not {t.data_type for t in wide.graph.initializer} & narrow
    for given in quantizable.samples(before, 3, seed=9):
        for a, b in zip(outputs(path, given), outputs(output.path, given), strict=True):
            error = np.linalg.norm(a - b) / np.linalg.norm(a)
            assert error < 0.02, "a step here and there, where a tie is rounded the other way"


def contributed():
    """ONNX Runtime's own operators of integers, one after the other; scales of rows and columns,
    signed and unsigned, with and without zero points."""
    rng = np.random.default_rng(3)

    def store(name, content, kind):
        return numpy_helper.from_array(np.asarray(content, kind), name)

    def bytes_of(name, *shape, kind="int8"):
        low, high = np.iinfo(kind).min, np.iinfo(kind).max + 1
        return store(name, rng.integers(low, high, shape), kind)

    weights = [
        *(store(f"s{n}", 0.01 * n, "float32") for n in range(1, 9)),
        store("z", 128, "uint8"),
        store("z3", 3, "uint8"),
        store("nought", 0, "uint8"),
        store("many", rng.uniform(0.005, 0.02, 6), "float32"),
        store("zeros", rng.integers(-3, 4, 6), "int8"),
        bytes_of("other", 1, 4, 8, 8, kind="uint8"),
        bytes_of("gemm", 6, 64),
        store("bias", rng.integers(-2000, 2000, 6), "int32"),
        bytes_of("right", 6, 6),
        store("lift", rng.standard_normal(6), "float32"),
        store("flat", [1, 64], "int64"),
        store("seen", rng.random((1, 4, 8, 8)) < 0.5, "bool"),
    ]
    own = {"domain": "com.microsoft"}
    nodes = [
        node("QuantizeLinear", ["x", "s2", "z"], ["q"]),
        node("QLinearLeakyRelu", ["q", "s2", "z", "s3", "z3"], ["leaky"], alpha=0.2, **own),
        node("QLinearSigmoid", ["q", "s2", "z", "s1", "nought"], ["sig"], **own),
        node("QLinearWhere", "seen leaky s3 z3 other s2 z s4 z".split(), ["chosen"], **own),
        node("QLinearMul", "chosen s4 z sig s1 nought s3 z".split(), ["product"], **own),
        node("QLinearAdd", "product s3 z leaky s3 z3 s5 z3".split(), ["sum"], **own),
        node(
            "QLinearAveragePool",
            ["sum", "s5", "z3", "s5", "z3"],
            ["pool"],
            kernel_shape=[2, 2],
            strides=[2, 2],
            **own,
        ),
        node("Reshape", ["pool", "flat"], ["row"]),
        node("QGemm", "row s5 z3 gemm many zeros bias s8 z".split(), ["g"], transB=1, **own),
        node("QGemm", "row s5 z3 gemm many zeros bias".split(), ["gf"], transB=1, alpha=0.5, **own),
        node("QLinearSoftmax", "g s8 z s1 nought".split(), ["soft"], axis=-1, opset=13, **own),
        node("QLinearConcat", "s6 z g s8 z soft s1 nought".split(), ["both"], axis=1, **own),
        node("DequantizeLinear", ["both", "s6", "z"], ["y"]),
        node("MatMulIntegerToFloat", "g right s8 many z zeros lift".split(), ["mf"], **own),
        node("DynamicQuantizeMatMul", "gf right many zeros lift".split(), ["dm"], **own),
    ]
    floats = [info(n, TensorProto.FLOAT, s) for n, s in (("y", [1, 12]), ("mf", [1, 6]))]
    floats.append(info("dm", TensorProto.FLOAT, [1, 6]))
    x = info("x", TensorProto.FLOAT, [1, 4, 8, 8])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    graph = helper.make_graph(nodes, "g", [x], floats, weights)
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def test_operators_of_the_runtime_itself(tmp_path):
    onnx.save(contributed(), tmp_path / "m.onnx")
    assert OnnxInspector().inspect(tmp_path / "m.onnx", ReadOptions()).state == State(
        "onnx", "int8-dynamic"
    )
    (output,) = convkit.convert(tmp_path / "m.onnx", to="onnx", output_dir=tmp_path / "o").outputs
    wide = onnx.load(output.path)
    assert {n.domain for n in wide.graph.node} == {""}
    for seed in range(3):
        x = np.random.default_rng(seed).standard_normal((1, 4, 8, 8)).astype("float32")
        both = zip(outputs(tmp_path / "m.onnx", [x]), outputs(output.path, [x]), strict=True)
        for a, b in both:  # one mean in four lies between two steps, and goes either way
            assert np.linalg.norm(a - b) < 0.06 * np.linalg.norm(a)


def test_weights_in_blocks(tmp_path):
    rng = np.random.default_rng(4)
    weights = [
        numpy_helper.from_array(rng.integers(-128, 128, (10, 3)).astype("int8"), "w"),
        numpy_helper.from_array(rng.uniform(0.01, 0.02, (3, 3)).astype("float32"), "s"),
        numpy_helper.from_array(rng.integers(-9, 9, (3, 3)).astype("int8"), "z"),
    ]
    nodes = [
        node("DequantizeLinear", ["w", "s", "z"], ["f"], axis=0, block_size=4),
        node("MatMul", ["x", "f"], ["y"]),
    ]
    ends = [info("x", TensorProto.FLOAT, [2, 10])], [info("y", TensorProto.FLOAT, [2, 3])]
    graph = helper.make_graph(nodes, "g", *ends, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.save(model, tmp_path / "m.onnx")
    (output,) = convkit.convert(tmp_path / "m.onnx", to="onnx", output_dir=tmp_path / "o").outputs
    assert [h.converter for h in output.manifest.hops] == ["onnx.dequantize-weights"]
    assert [n.op_type for n in onnx.load(output.path).graph.node] == ["MatMul"]
    assert output.manifest.hops[-1].verification.sqnr_db > 100


def test_integers_that_are_not_written_in_float_are_named(tmp_path):
    then, other = (
        helper.make_graph(
            [node("DequantizeLinear", ["q", "s"], [name])],
            name,
            [],
            [info(name, TensorProto.FLOAT, [4])],
        )
        for name in ("t", "e")
    )
    nodes = [
        node("QuantizeLinear", ["x", "s"], ["q"], name="in"),
        node("If", ["flag"], ["y"], name="choose", then_branch=then, else_branch=other),
    ]
    scale = numpy_helper.from_array(np.float32(0.1), "s")
    inputs = [info("x", TensorProto.FLOAT, [4]), info("flag", TensorProto.BOOL, [])]
    graph = helper.make_graph(nodes, "g", inputs, [info("y", TensorProto.FLOAT, [4])], [scale])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "m.onnx")
    found = convkit.plugin.Artifact(tmp_path / "m.onnx", State("onnx", "int8"))
    (obstacle,) = edge("onnx.dequantize").check(found, {})
    assert obstacle.what == "DequantizeLinear inside If"
    assert set(obstacle.layers) == {"choose"}


def test_a_path_to_another_format_begins_with_widening(write, tmp_path):
    pytest.importorskip("openvino")
    path = write("residual", "QOperator")
    (output,) = convkit.convert(path, to="openvino", output_dir=tmp_path / "out").outputs
    assert [h.converter for h in output.manifest.hops] == ["onnx.dequantize", "openvino.from-onnx"]
    assert output.manifest.hops[-1].verification.sqnr_db > 40


def test_half_precision_excuses_nothing_behind_the_widening(tmp_path):
    """Beside an original in float16 a small fault would pass; beside the widened model it shows."""
    pytest.importorskip("openvino")
    onnx.save(half(quantizable.residual()), tmp_path / "m.onnx")

    def convert(tool):
        return convkit.convert(
            tmp_path / "m.onnx",
            to="openvino",
            output_dir=tmp_path / tool,
            steering=convkit.Steering(converters=(tool,)),
            plugins=("onnx_nudger",),
        )

    (right,) = convert("openvino.from-onnx").outputs
    assert [h.verification.verdict for h in right.manifest.hops] == ["ok", "ok"]
    with pytest.raises(NumericError) as caught:
        convert("nudger.openvino")
    assert "SQNR" in caught.value.message
    assert "the culprit" in caught.value.hint


def test_what_was_quantized_is_not_quantized_again(write, tmp_path):
    path = write("residual", "QOperator")
    with pytest.raises(NoPathError) as caught:
        convkit.convert(path, to="onnx-fp16", output_dir=tmp_path / "out")
    assert "quantized before" in caught.value.hint


def test_a_float_model_is_not_widened(tmp_path):
    onnx.save(quantizable.residual(), tmp_path / "m.onnx")
    with pytest.raises(UsageError):
        convkit.convert(tmp_path / "m.onnx", to="onnx", output_dir=tmp_path / "out")


class TestWiden(ConverterContract):
    edge = "onnx.widen"
    tolerance = 40.0

    @pytest.fixture
    def source(self, tmp_path):
        path = tmp_path / "source" / "half.onnx"
        path.parent.mkdir()
        onnx.save(half(quantizable.residual()), path)
        return path


class TestDequantize(ConverterContract):
    edge = "onnx.dequantize"
    form = "QOperator"
    tolerance = 40.0

    @pytest.fixture
    def source(self, write, tmp_path):
        path = tmp_path / "source" / "integers.onnx"
        path.parent.mkdir()
        write("residual", self.form).rename(path)
        return path

    @pytest.fixture
    def converter(self) -> Converter:
        return edge(self.edge)


class TestDequantizeDynamic(TestDequantize):
    edge = "onnx.dequantize-dynamic"
    form = "dynamic"


def test_every_edge_back_says_that_it_widens():
    wide = {c.name: c.source for c in plugin.convkit_converters() if c.widens}
    assert wide == {
        "onnx.widen": State("onnx", "fp16"),
        "onnx.dequantize": State("onnx", "int8"),
        "onnx.dequantize-dynamic": State("onnx", "int8-dynamic"),
        "onnx.dequantize-weights": State("onnx", "int8-weights"),
    }
