"""What the quantizers do to a model, beyond the contract."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

if find_spec("nncf") is None or find_spec("openvino") is None:
    pytest.skip("NNCF or OpenVINO is not installed", allow_module_level=True)

import nncf_models as models
import openvino

from convkit.errors import CalibrationError, ConversionError, InputError, UsageError
from convkit.plugin import Artifact, HopContext, State, TensorSpec
from convkit_nncf import ir, onnx_file, plugin, tool
from convkit_nncf.structure import is_lopsided, is_transformer

EDGES: Any = {converter.name: converter for converter in plugin.convkit_converters()}
INT8 = EDGES["nncf.openvino-int8"]
ONNX = EDGES["nncf.onnx-int8"]


@pytest.fixture(scope="module")
def cnn(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return models.cnn(models.cnn_ir(tmp_path_factory.mktemp("cnn") / "cnn.xml"))


@pytest.fixture(scope="module")
def attention(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    path = models.attention_ir(tmp_path_factory.mktemp("attention") / "block.xml")
    spec = TensorSpec("tokens", (1, 6, 32), "float32")
    return Artifact(
        path, State("openvino"), (spec,), (TensorSpec("hidden", (1, 6, 32), "float32"),)
    )


def compiled(path: Path) -> Any:
    return openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def kernels(path: Path) -> dict[str, str]:
    """Name of an operator in the file to the kernel that executes it."""
    found = {}
    for node in compiled(path).get_runtime_model().get_ordered_ops():
        info = {key: value.value for key, value in node.get_rt_info().items()}
        for name in str(info.get("originalLayersNames")).split(","):
            found[name] = str(info["primitiveType"])
    return found


def quantizers(path: Path) -> int:
    operators = openvino.Core().read_model(path).get_ordered_ops()
    return sum(node.get_type_name() == "FakeQuantize" for node in operators)


def test_convolutions_run_in_integers(cnn: Artifact, tmp_path: Path) -> None:
    """Not in the file alone: OpenVINO picks its 8-bit kernels."""
    made = models.quantize(INT8, cnn, tmp_path)
    found = kernels(made.path)
    assert found["body"].upper().endswith("I8")
    assert kernels(cnn.path)["body"].endswith("f32")


def test_a_layer_of_the_recipe_runs_in_float(cnn: Artifact, tmp_path: Path) -> None:
    made = models.quantize(INT8, cnn, tmp_path, keep=["body"])
    assert kernels(made.path)["body"].endswith("f32")


@pytest.mark.parametrize("edge", sorted(EDGES))
def test_a_layer_that_does_not_exist(cnn: Artifact, tmp_path: Path, edge: str) -> None:
    artifact = cnn
    if edge == "nncf.onnx-int8":
        pytest.importorskip("onnxruntime")
        artifact = models.cnn(models.cnn_onnx(tmp_path / "m.onnx", names={2: "body"}), "onnx")
    with pytest.raises(ConversionError, match="no layer called 'bodi'") as caught:
        models.quantize(EDGES[edge], artifact, tmp_path / "out", keep=["bodi"])
    assert "body" in caught.value.hint


def test_samples_meet_their_inputs(cnn: Artifact, tmp_path: Path) -> None:
    """The artifact may list its inputs in another order than the file."""
    turned = models.cnn(cnn.path)
    turned = Artifact(turned.path, turned.state, turned.inputs[::-1], turned.outputs)
    made = models.quantize(INT8, turned, tmp_path)
    feed = dict(zip(("ids", "picture"), models.draw(turned.inputs, 99), strict=True))
    want, have = (list(compiled(a.path)(feed).values()) for a in (cnn, made))
    for reference, result in zip(want, have, strict=True):
        assert np.square(reference - result).sum() < 0.01 * np.square(reference).sum()


def test_open_batch_stays_open(tmp_path: Path) -> None:
    model = openvino.Core().read_model(models.mlp_ir(tmp_path / "m.xml"))
    model.reshape([-1, 128])
    openvino.save_model(model, tmp_path / "open.xml", compress_to_fp16=False)
    spec = TensorSpec("x", ("batch", 128), "float32")
    artifact = Artifact(tmp_path / "open.xml", State("openvino"), (spec,))
    fixed = Artifact(artifact.path, artifact.state, (TensorSpec("x", (2, 128), "float32"),))
    given = models.context(tmp_path, fixed)
    made = INT8.convert(artifact, tmp_path / "q.xml", models.defaults(INT8), given)
    assert made.inputs == (spec,)
    assert compiled(made.path)(np.zeros((3, 128), np.float32))[0].shape == (3, 8)


def test_state_starts_anew(tmp_path: Path) -> None:
    """A running sum of what was seen: statistics over samples must not run into each other."""
    from openvino import opset13 as ops

    x = models.parameter("x", (1, 8))
    variable = openvino.op.util.VariableInfo()
    variable.data_shape = openvino.PartialShape([1, 8])
    variable.data_type = openvino.Type.f32
    variable.variable_id = "sum"
    state = openvino.op.util.Variable(variable)
    total = ops.add(ops.read_value(ops.constant(np.zeros((1, 8), np.float32)), state), x)
    y = models.linear(total, 8, 16, "linear")
    y.output(0).set_names({"y"})
    sink = ops.assign(total, state)
    model = openvino.Model([ops.result(y)], [sink], [x], "model")
    path = tmp_path / "m.xml"
    openvino.save_model(model, path, compress_to_fp16=False)
    spec = TensorSpec("x", (1, 8), "float32")
    made = models.quantize(INT8, Artifact(path, State("openvino"), (spec,)), tmp_path / "out")
    kinds = {n.get_type_name() for n in openvino.Core().read_model(made.path).get_ordered_ops()}
    assert {"ReadValue", "Assign"} <= kinds


# Options


def test_presets_differ(attention: Artifact, tmp_path: Path) -> None:
    """Symmetric ranges have as much below zero as above."""

    def lopsided(preset: str) -> int:
        made = models.quantize(INT8, attention, tmp_path / preset, preset=preset, model_type="none")
        count = 0
        for node in openvino.Core().read_model(made.path).get_ordered_ops():
            if node.get_type_name() == "FakeQuantize":
                low, high = (
                    float(np.ravel(node.input_value(i).get_node().get_data())[0]) for i in (1, 2)
                )
                count += abs(low + high) > 0.02 * high and low < 0
        return count

    assert lopsided("mixed") > lopsided("performance")


def test_transformers_are_treated_as_such(attention: Artifact, tmp_path: Path) -> None:
    """What `auto` finds is what asking for it gives, and it differs from what is not asked for."""
    auto, asked, plain = (
        models.quantize(INT8, attention, tmp_path / kind, model_type=kind).path
        for kind in ("auto", "transformer", "none")
    )
    assert auto.with_suffix(".bin").read_bytes() == asked.with_suffix(".bin").read_bytes()
    assert auto.with_suffix(".bin").read_bytes() != plain.with_suffix(".bin").read_bytes()


@pytest.mark.parametrize(
    "options",
    [
        {"smooth_quant": "off"},
        {"smooth_quant": "0.5"},
        {"activation_ranges": "min-max"},
        {"overflow_fix": "all"},
        {"subset_size": 2},
    ],
)
def test_options_reach_the_tool(
    attention: Artifact, tmp_path: Path, options: dict[str, Any]
) -> None:
    one = models.quantize(INT8, attention, tmp_path / "a", model_type="transformer")
    other = models.quantize(INT8, attention, tmp_path / "b", model_type="transformer", **options)
    first, second = (a.path.with_suffix(".bin").read_bytes() for a in (one, other))
    assert first != second


def test_bias_is_corrected_as_asked(cnn: Artifact, tmp_path: Path) -> None:
    made = [
        models.quantize(INT8, cnn, tmp_path / way, bias_correction=way).path
        for way in ("fast", "full", "none")
    ]
    assert len({path.with_suffix(".bin").read_bytes() for path in made}) == 3


def test_impossible_alpha(attention: Artifact, tmp_path: Path) -> None:
    for text in ("2", "much", "-0.5"):
        with pytest.raises(UsageError, match="smooth_quant"):
            models.quantize(INT8, attention, tmp_path, smooth_quant=text)


def test_no_calibration(cnn: Artifact, tmp_path: Path) -> None:
    given = HopContext(tmp_path, lambda phase, fraction: None)
    with pytest.raises(CalibrationError):
        INT8.convert(cnn, tmp_path / "q.xml", models.defaults(INT8), given)
    assert not list(tmp_path.iterdir())


def test_samples_of_another_model(cnn: Artifact, tmp_path: Path) -> None:
    given = models.context(tmp_path, Artifact(cnn.path, cnn.state, cnn.inputs[:1]))
    with pytest.raises(CalibrationError, match="do not fit"):
        INT8.convert(cnn, tmp_path / "q.xml", models.defaults(INT8), given)


@pytest.mark.parametrize("change", ["missing", "short"])
def test_weights_missing_or_short(tmp_path: Path, change: str) -> None:
    path = models.cnn_ir(tmp_path / "m.xml")
    weights = path.with_suffix(".bin")
    content = weights.read_bytes()
    weights.unlink()
    if change == "short":
        weights.write_bytes(content[:-8])
    with pytest.raises(InputError, match=r"m\.bin"):
        models.quantize(INT8, models.cnn(path), tmp_path / "out")


# Structure


def test_attention_is_found(attention: Artifact, cnn: Artifact) -> None:
    assert is_transformer(ir.graph(ir.read(attention.path)))
    assert not is_transformer(ir.graph(ir.read(cnn.path)))


def test_a_detectors_softmax_is_no_attention(tmp_path: Path) -> None:
    """Distances decoded by constant weights behind a Softmax of a Linear's result."""
    from openvino import opset13 as ops

    x = models.parameter("x", (1, 64))
    logits = ops.reshape(models.linear(x, 64, 64, "linear"), np.array([4, 16]), False)
    y = ops.matmul(ops.softmax(logits, -1), ops.constant(models.real(16, 1)), False, False)
    path = models.save([("y", y)], [x], tmp_path / "m.xml")
    assert not is_transformer(ir.graph(ir.read(path)))


def test_silu_is_found_whole_and_in_parts(tmp_path: Path) -> None:
    from openvino import opset13 as ops

    def graph(name: str, activation: Any) -> Any:
        x = models.parameter("x", (1, 64))
        path = models.save([("y", activation(models.linear(x, 64, 8, "l")))], [x], tmp_path / name)
        return ir.graph(ir.read(path))

    assert is_lopsided(graph("a.xml", ops.swish))
    assert is_lopsided(graph("b.xml", lambda x: ops.multiply(ops.sigmoid(x), x)))
    assert not is_lopsided(graph("c.xml", ops.relu))
    assert not is_lopsided(graph("d.xml", lambda x: ops.multiply(ops.sigmoid(x), np.float32(2))))


# Weights


def test_weights_become_smaller_and_activations_do_not(tmp_path: Path) -> None:
    path = models.mlp_ir(tmp_path / "m.xml")
    spec = TensorSpec("x", (1, 128), "float32")
    artifact = Artifact(path, State("openvino"), (spec,))
    eight, four = (
        models.quantize(EDGES[f"nncf.openvino-int{n}-weights"], artifact, tmp_path / n).path
        for n in "84"
    )
    sizes = [p.with_suffix(".bin").stat().st_size for p in (path, eight, four)]
    assert sizes[0] > 3.5 * sizes[1] > 3.5 * 1.5 * sizes[2]
    assert quantizers(eight) == quantizers(four) == 0


def test_four_bits_are_not_promised_to_convolutions(cnn: Artifact) -> None:
    edge = EDGES["nncf.openvino-int4-weights"]
    (obstacle,) = edge.check(cnn, models.defaults(edge))
    assert {"stem", "body"} <= set(obstacle.layers)
    assert "int8-weights" in obstacle.remedy


# ONNX


def test_onnx_nodes_without_names_can_be_kept(tmp_path: Path) -> None:
    """By the names that convkit's inspector of ONNX gives them."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    source = models.cnn(models.cnn_onnx(tmp_path / "m.onnx"), "onnx")
    made = onnx.load(str(models.quantize(ONNX, source, tmp_path / "q", keep=["Conv_2"]).path))
    kept = next(node for node in made.graph.node if node.name == "Conv_2")
    makers = {name: node.op_type for node in made.graph.node for name in node.output}
    assert "DequantizeLinear" not in {makers.get(name) for name in kept.input}
    other = next(node for node in made.graph.node if node.name == "Conv_0")
    assert makers[other.input[0]] == "DequantizeLinear"


def test_onnx_names_that_are_taken(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    path = models.cnn_onnx(tmp_path / "m.onnx", names={0: "conv", 2: "conv", 3: "Conv_2"})
    names = [node.name for node in onnx_file.read(path).graph.node]
    assert names[:4] == ["conv", "Relu_1", "conv#2", "Conv_2"]
    assert len(set(names)) == len(names)


# Telemetry


@pytest.mark.parametrize("there", [False, True])
def test_nothing_is_reported(tmp_path: Path, there: bool) -> None:
    """No id in the home and no sender, even where the sender's package was loaded before."""
    script = f"""
import sys, types
if {there}:
    sender = types.ModuleType("openvino_telemetry")
    sender.Telemetry = lambda *args, **kwargs: sys.exit("it reports")
    sys.modules["openvino_telemetry"] = sender
from convkit_nncf import tool
nncf = tool.load()
from nncf.telemetry.wrapper import NNCFTelemetry, telemetry
assert not isinstance(telemetry, NNCFTelemetry)
assert ("openvino_telemetry" in sys.modules) == {there}
"""
    home = {key: value for key, value in os.environ.items() if not key.startswith("NNCF")}
    subprocess.run(
        [sys.executable, "-c", script], env=home | {"HOME": str(tmp_path)}, cwd=tmp_path, check=True
    )
    assert not list(tmp_path.iterdir())


def test_the_tools_words_reach_the_user() -> None:
    expected = pytest.raises(ConversionError, match="NNCF could not try: no such thing")
    with expected as caught, tool.failures("try"):
        raise RuntimeError("Exception from src/core/x.cpp:1:\nno such thing\nmore")
    assert isinstance(caught.value.__cause__, RuntimeError)
