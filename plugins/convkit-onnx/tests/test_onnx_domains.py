"""Operators that are not plain ONNX: read all the same, and edges say what they cannot do."""

from __future__ import annotations

import pytest

np = pytest.importorskip("numpy")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxslim")

from onnx import TensorProto, helper  # noqa: E402

from convkit.errors import ConversionError  # noqa: E402
from convkit_onnx.fix_shapes import FixShapes  # noqa: E402
from convkit_onnx.half import Half  # noqa: E402
from convkit_onnx.inspector import OnnxInspector  # noqa: E402
from convkit_onnx.runner import OnnxRuntimeRunner  # noqa: E402
from convkit_onnx.simplify import Slim  # noqa: E402

F = TensorProto.FLOAT
node, value = helper.make_node, helper.make_tensor_value_info
OPSETS = {"": 17, "ai.onnx.ml": 3, "ai.onnx.preview.training": 1, "my.company": 1}
HALF = {"keep_float": "", "probe": True}


def custom(batch=2):
    """An operator that nobody knows, between two that everybody does."""
    return (
        [
            node("Relu", ["x"], ["r"]),
            node("Secret", ["r"], ["s"], domain="my.company", name="middle"),
            node("Neg", ["s"], ["y"]),
        ],
        [value("x", F, [batch, 3])],
        [value("y", F, [batch, 3])],
    )


def classifier(zipmap=False):
    """As scikit-learn's exporter makes it; scores may come as a sequence of maps."""
    nodes = [
        node(
            "LinearClassifier",
            ["x"],
            ["label", "scores"],
            domain="ai.onnx.ml",
            name="classes",
            classlabels_ints=[0, 1, 2],
            coefficients=[0.5, -1.0, 1.5, 0.25, -0.5, 1.0],
            intercepts=[0.0, 0.1, 0.2],
            post_transform="SOFTMAX",
        )
    ]
    outputs = [value("label", TensorProto.INT64, [1]), value("scores", F, [1, 3])]
    if zipmap:
        nodes.append(
            node("ZipMap", ["scores"], ["named"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2])
        )
        kind = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(F, []))
        outputs[1] = helper.make_value_info("named", helper.make_sequence_type_proto(kind))
    return nodes, [value("x", F, [1, 2])], outputs


def training():
    return (
        [
            node(
                "Momentum",
                ["rate", "step", "x", "gradient", "speed"],
                ["y", "speed2"],
                domain="ai.onnx.preview.training",
                name="update",
                alpha=0.9,
                beta=1.0,
                mode="standard",
                norm_coefficient=0.0,
            )
        ],
        [
            value("rate", F, []),
            value("step", TensorProto.INT64, []),
            *(value(n, F, [2]) for n in ("x", "gradient", "speed")),
        ],
        [value("y", F, [2]), value("speed2", F, [2])],
    )


@pytest.fixture
def given(artifact, tmp_path):
    def build(parts):
        nodes, inputs, outputs = parts
        used = {"", *(n.domain for n in nodes)}
        model = helper.make_model(
            helper.make_graph(nodes, "g", inputs, outputs),
            opset_imports=[helper.make_opsetid(d, v) for d, v in OPSETS.items() if d in used],
            ir_version=8,
        )
        onnx.save(model, tmp_path / "m.onnx")
        return artifact(tmp_path / "m.onnx")

    return build


@pytest.mark.parametrize(
    ("parts", "operator", "layer"),
    [
        (custom(), "Secret", "middle"),
        (classifier(), "LinearClassifier", "classes"),
        (classifier(zipmap=True), "ZipMap", "classes"),
        (training(), "Momentum", "update"),
    ],
)
def test_the_inspector_reads_them(given, parts, operator, layer):
    source = given(parts)
    seen = OnnxInspector().inspect(source.path, source.read)
    assert seen.operators[operator] == 1
    assert layer in [x.name for x in seen.layers]
    assert len(seen.digest) == 64


@pytest.mark.parametrize(("parts", "name"), [(custom(), "Secret"), (training(), "Momentum")])
def test_what_onnxruntime_does_not_know_is_named(given, context, tmp_path, parts, name):
    source = given(parts)
    for attempt in (
        lambda: OnnxRuntimeRunner().open(source, 1),
        lambda: list(OnnxRuntimeRunner().trace(source, [], 1)),
        lambda: Half().convert(source, tmp_path / "h.onnx", HALF, context),
    ):
        with pytest.raises(ConversionError, match=name):
            attempt()
    assert not (tmp_path / "h.onnx").exists()


def test_preparations_leave_unknown_operators_alone(given, artifact, context, tmp_path):
    source = given(custom(batch="n"))
    fixed = FixShapes().convert(source, tmp_path / "f.onnx", {"batch": 4}, context)
    assert fixed.inputs[0].shape == (4, 3)
    slim = Slim().convert(source, tmp_path / "s.onnx", {}, context)
    for result in (fixed, slim):
        kinds = [(n.domain, n.op_type) for n in onnx.load(result.path).graph.node]
        assert kinds == [("", "Relu"), ("my.company", "Secret"), ("", "Neg")]


def test_a_classifier_of_trees_and_lines_stays_in_float(given, context, tmp_path):
    source = given(classifier())
    result = Half().convert(source, tmp_path / "h.onnx", HALF, context)
    x = [np.array([[0.3, -0.7]], "float32")]
    wanted, got = (OnnxRuntimeRunner().open(a, 1).run(x) for a in (source, result))
    assert got[0] == wanted[0]
    np.testing.assert_allclose(got[1], wanted[1], atol=1e-3)


def test_maps_are_refused_with_a_remedy(given):
    with pytest.raises(ConversionError, match="named is a seq") as error:
        OnnxRuntimeRunner().open(given(classifier(zipmap=True)), 1)
    assert "zipmap" in error.value.hint
