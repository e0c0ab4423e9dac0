"""onnxruntime.fp16: real float16 inside, float32 at the ends, numbers that agree."""

from __future__ import annotations

from dataclasses import replace

import pytest

np = pytest.importorskip("numpy")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from convkit.errors import ConversionError, UsageError  # noqa: E402
from convkit_onnx.half import Half  # noqa: E402
from convkit_onnx.inspector import OnnxInspector  # noqa: E402
from convkit_onnx.runner import OnnxRuntimeRunner  # noqa: E402
from convkit_onnx.sorting import sort_nodes  # noqa: E402

RUNNER = OnnxRuntimeRunner()
DEFAULT = {"keep_float": "", "probe": True}
F, I64 = TensorProto.FLOAT, TensorProto.INT64
node, value = helper.make_node, helper.make_tensor_value_info


def weight(name, *shape):
    array = np.random.default_rng(len(name)).standard_normal(shape).astype("float32")
    return numpy_helper.from_array(array * 0.3, name)


def constant(name, content, kind="float32"):
    return numpy_helper.from_array(np.array(content, kind), name)


def model(nodes, inputs, outputs, constants, opset=17, functions=()):
    return helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs, constants),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=8,
    )


def detector():
    """Resize, suppression and a choice of the best: operators that keep float32 inputs."""
    return model(
        [
            node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
            node("Relu", ["c"], ["r"]),
            node("Resize", ["r", "", "scales"], ["u"], mode="linear"),
            node("Conv", ["u", "wb"], ["b4"]),
            node("Reshape", ["b4", "four"], ["bt"]),
            node("Transpose", ["bt"], ["b0"], perm=[0, 2, 1]),
            node("Sigmoid", ["b0"], ["boxes"]),
            node("Conv", ["u", "ws"], ["s4"]),
            node("Reshape", ["s4", "two"], ["st"]),
            node("Sigmoid", ["st"], ["scores"]),
            node("NonMaxSuppression", ["boxes", "scores", "five", "half", "third"], ["selected"]),
            node("ReduceMax", ["scores"], ["best"], axes=[1], keepdims=0),
            node("TopK", ["best", "five"], ["top", "places"]),
        ],
        [value("x", F, [1, 3, 8, 8])],
        [
            value("selected", I64, ["n", 3]),
            value("top", F, [1, 5]),
            value("boxes", F, [1, 256, 4]),
        ],
        [
            weight("w", 8, 3, 3, 3),
            weight("wb", 4, 8, 1, 1),
            weight("ws", 2, 8, 1, 1),
            constant("scales", [1, 1, 2, 2]),
            constant("four", [1, 4, -1], "int64"),
            constant("two", [1, 2, -1], "int64"),
            constant("five", [5], "int64"),
            constant("half", [0.5]),
            constant("third", [0.3]),
        ],
    )


def encoder():
    """Token ids, LayerNormalization with a second result that is float32 by definition, a mask."""
    return model(
        [
            node("Gather", ["table", "ids"], ["e"]),
            node("LayerNormalization", ["e", "g", "b"], ["n", "mean"], axis=-1),
            node("MatMul", ["n", "w"], ["m"]),
            node("Where", ["mask", "m", "low"], ["masked"]),
            node("Softmax", ["masked"], ["p"], axis=-1),
        ],
        [value("ids", I64, [2, 6]), value("mask", TensorProto.BOOL, [2, 6, 8])],
        [value("p", F, [2, 6, 8]), value("mean", F, [2, 6, 1])],
        [
            weight("table", 20, 16),
            weight("g", 16),
            weight("b", 16),
            weight("w", 16, 8),
            constant("low", np.finfo("float32").min),
        ],
    )


def lstm():
    return model(
        [node("LSTM", ["x", "W", "R", "B"], ["y", "h"], hidden_size=6, direction="bidirectional")],
        [value("x", F, [5, 1, 4])],
        [value("y", F, [5, 2, 1, 6]), value("h", F, [2, 1, 6])],
        [weight("W", 2, 24, 4), weight("R", 2, 24, 6), weight("B", 2, 48)],
    )


def branches():
    """Weights inside branches and one taken from outside."""
    then = helper.make_graph(
        [node("MatMul", ["h", "inner"], ["t"])],
        "t",
        [],
        [value("t", F, [1, 4])],
        [weight("inner", 8, 4)],
    )
    other = helper.make_graph(
        [node("MatMul", ["h", "outer"], ["e"])], "e", [], [value("e", F, [1, 4])]
    )
    return model(
        [
            node("MatMul", ["x", "w"], ["h"]),
            node("If", ["yes"], ["y"], then_branch=then, else_branch=other, name="choice"),
        ],
        [value("x", F, [1, 6]), value("yes", TensorProto.BOOL, [])],
        [value("y", F, [1, 4])],
        [weight("w", 6, 8), weight("outer", 8, 4)],
    )


MODELS = {"detector": detector, "encoder": encoder, "lstm": lstm, "branches": branches}


def sample(artifact):
    rng = np.random.default_rng(1)
    made = {"int64": lambda s: rng.integers(0, 20, s), "bool": lambda s: rng.random(s) < 0.7}
    floats = lambda s: rng.random(s).astype("float32")  # noqa: E731
    return [np.asarray(made.get(i.dtype, floats)(i.shape)) for i in artifact.inputs]


@pytest.fixture
def given(artifact, tmp_path):
    def build(proto):
        onnx.save(proto, tmp_path / "m.onnx")
        return artifact(tmp_path / "m.onnx")

    return build


@pytest.mark.parametrize("name", MODELS)
def test_half_inside_and_float_at_the_ends(given, artifact, context, tmp_path, name):
    source = given(MODELS[name]())
    result = Half().convert(source, tmp_path / "h.onnx", DEFAULT, context)
    seen = OnnxInspector().inspect(result.path, source.read)
    assert str(seen.state) == "onnx-fp16"
    assert seen.parameter_bytes["float16"] > 4 * seen.parameter_bytes.get("float32", 0)
    assert [(s.name, s.dtype) for s in seen.inputs] == [(s.name, s.dtype) for s in source.inputs]
    assert [(s.name, s.dtype) for s in seen.outputs] == [(s.name, s.dtype) for s in source.outputs]
    onnx.checker.check_model(str(result.path), full_check=True)
    inputs = sample(source)
    wanted = RUNNER.open(source, 1).run(inputs)
    for a, b in zip(RUNNER.open(result, 1).run(inputs), wanted, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-2, atol=3e-3)


def test_kept_operators_stay_in_float(given, context, tmp_path):
    source = given(encoder())
    path = (
        Half()
        .convert(source, tmp_path / "h.onnx", {**DEFAULT, "keep_float": "Softmax, MatMul"}, context)
        .path
    )
    kinds = {x.op_type: x.compute for x in OnnxInspector().inspect(path, source.read).layers}
    assert kinds["Softmax"] == kinds["MatMul"] == "float32"
    assert kinds["Where"] == "float16"
    with pytest.raises(UsageError, match="Sofmax") as error:
        Half().convert(source, tmp_path / "i.onnx", {**DEFAULT, "keep_float": "Sofmax"}, context)
    assert "Softmax" in error.value.hint


def growing():
    """The middle of it passes 65504; both ends do not."""
    return model(
        [
            node("MatMul", ["x", "w"], ["a"]),
            node("Mul", ["a", "up"], ["b"]),
            node("Relu", ["b"], ["c"]),
            node("Mul", ["c", "down"], ["d"]),
            node("MatMul", ["d", "w"], ["y"]),
        ],
        [value("x", F, [1, 64])],
        [value("y", F, [1, 64])],
        [weight("w", 64, 64), constant("up", 5e4), constant("down", 1e-4)],
    )


def reference(artifact, inputs):
    """The standard's own evaluator computes in the types that the file says."""
    feeds = {spec.name: x for spec, x in zip(artifact.inputs, inputs, strict=True)}
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(str(artifact.path)).run(None, feeds)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the reference says that it overflows
def test_values_beyond_half_stay_in_float(given, context, tmp_path):
    """True float16 hardware would make them infinite; ONNX Runtime's CPU kernels hide that."""
    source = given(growing())
    inputs = sample(source)
    probed = Half().convert(source, tmp_path / "p.onnx", DEFAULT, context)
    assert OnnxInspector().inspect(probed.path, source.read).state.precision == "fp16"
    blind = Half().convert(source, tmp_path / "b.onnx", {**DEFAULT, "probe": False}, context)
    (wanted,), (kept,), (lost,) = (reference(x, inputs) for x in (source, probed, blind))
    assert not np.isfinite(lost).all()
    np.testing.assert_allclose(kept, wanted, rtol=1e-2, atol=1e-2 * np.abs(wanted).max())


def looping():
    """TopK, which stays in float32, inside a branch."""
    then = helper.make_graph(
        [node("TopK", ["h", "k"], ["t", "i"])], "t", [], [value("t", F, [1, 2])]
    )
    other = helper.make_graph(
        [node("Slice", ["h", "zero", "k", "one"], ["e"])], "e", [], [value("e", F, [1, 2])]
    )
    return model(
        [
            node("MatMul", ["x", "w"], ["h"]),
            node("If", ["yes"], ["y"], then_branch=then, else_branch=other, name="choice"),
        ],
        [value("x", F, [1, 6]), value("yes", TensorProto.BOOL, [])],
        [value("y", F, [1, 2])],
        [
            weight("w", 6, 8),
            constant("k", [2], "int64"),
            constant("zero", [0], "int64"),
            constant("one", [1], "int64"),
        ],
    )


def test_what_it_cannot_do_is_known_beforehand(given, context, tmp_path):
    source = given(looping())
    (obstacle,) = Half().check(source, DEFAULT)
    assert (obstacle.what, obstacle.layers) == ("TopK inside If", ("choice",))
    with pytest.raises(ConversionError, match="TopK inside If"):
        Half().convert(source, tmp_path / "h.onnx", DEFAULT, context)
    for name in MODELS:
        assert Half().check(given(MODELS[name]()), DEFAULT) == ()


def test_what_onnxruntime_refuses_leaves_nothing(given, context, tmp_path):
    proto = encoder()
    proto.graph.node.append(node("Mystery", ["p"], ["q"], domain="some.where"))
    proto.opset_import.append(helper.make_opsetid("some.where", 1))
    proto.graph.output.append(value("q", F, [2, 6, 8]))
    with pytest.raises(ConversionError, match="Mystery"):
        Half().convert(given(proto), tmp_path / "h.onnx", DEFAULT, context)
    assert not (tmp_path / "h.onnx").exists()


def test_sorting_keeps_what_is_sorted_and_mends_what_is_not():
    proto = branches()
    before = [n.output[0] for n in proto.graph.node]
    sort_nodes(proto.graph)
    assert [n.output[0] for n in proto.graph.node] == before
    turned = list(proto.graph.node)[::-1]  # the branches read `h`, which is then made later
    del proto.graph.node[:]
    proto.graph.node.extend(turned)
    sort_nodes(proto.graph)
    assert [n.output[0] for n in proto.graph.node] == before
    proto.graph.node[0].input[0] = "y"
    with pytest.raises(ValueError, match="cycle"):
        sort_nodes(proto.graph)


def test_external_data_is_read_and_the_result_is_whole(saved, artifact, context, tmp_path):
    path = saved("mlp", "e.onnx", save_as_external_data=True, location="e.data", size_threshold=0)
    source = replace(artifact(path))
    result = Half().convert(source, tmp_path / "h.onnx", DEFAULT, context)
    seen = OnnxInspector().inspect(result.path, source.read)
    assert seen.companions == () and seen.state.precision == "fp16"
