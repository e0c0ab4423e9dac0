"""Roads into OpenVINO: the same numbers, names, order and open axes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("openvino")

import openvino_models as models

from convkit.errors import ConversionError, InputError
from convkit.plugin import Artifact, State, TensorSpec
from convkit_openvino.plugin import convkit_converters

EDGES: Any = {converter.name: converter for converter in convkit_converters()}
FLOAT_EXACT = {"rtol": 1e-4, "atol": 1e-5}


def agrees(case: models.Case, made: Artifact, batch: int) -> None:
    inputs = case.draw(batch)
    got, expected = models.run(made, inputs), case.expect(inputs)
    assert len(got) == len(expected)
    for ours, theirs in zip(got, expected, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, **FLOAT_EXACT)


@pytest.mark.parametrize("name", models.TORCH)
@pytest.mark.parametrize("dynamic", [False, True], ids=["fixed", "open"])
def test_from_torch(tmp_path: Path, name: str, dynamic: bool) -> None:
    pytest.importorskip("torch")
    case = models.torch_case(name, tmp_path, dynamic)
    made = models.convert(EDGES["openvino.from-torch"], case.artifact, tmp_path)
    for ours, theirs in (
        (made.inputs, case.artifact.inputs),
        (made.outputs, case.artifact.outputs),
    ):
        assert [(s.name, s.shape, s.dtype) for s in ours] == [
            (s.name, s.shape, s.dtype) for s in theirs
        ]
    for batch in (1, 3) if dynamic else (2,):
        agrees(case, made, batch)


@pytest.mark.parametrize("name", models.ONNX)
@pytest.mark.parametrize("batch", [2, None], ids=["fixed", "open"])
def test_from_onnx(tmp_path: Path, name: str, batch: int | None) -> None:
    pytest.importorskip("onnx")
    case = models.onnx_case(name, tmp_path, batch)
    made = models.convert(EDGES["openvino.from-onnx"], case.artifact, tmp_path)
    assert made.inputs == case.artifact.inputs
    assert [s.name for s in made.outputs] == [s.name for s in case.artifact.outputs]
    for size in (batch,) if batch else (1, 3):
        agrees(case, made, size)


def test_external_data_is_read(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    case = models.onnx_case("cnn", tmp_path)
    onnx.save_model(
        models.onnx_model("cnn"),
        str(case.artifact.path),
        save_as_external_data=True,
        location="cnn.data",
        size_threshold=0,
    )
    agrees(case, models.convert(EDGES["openvino.from-onnx"], case.artifact, tmp_path), 2)


ROADS = {
    "openvino.from-tf-saved": ("open-saved", "tf-saved", "fp32"),
    "openvino.from-tf-frozen": ("frozen.pb", "tf-frozen", "fp32"),
    "openvino.from-tflite": ("open.tflite", "tflite", "fp32"),
    "openvino.from-tflite-fp16": ("fp16.tflite", "tflite", "fp16"),
    "openvino.from-tflite-int8": ("int8.tflite", "tflite", "int8"),
}


@pytest.mark.parametrize("edge", ROADS)
def test_from_tensorflow(tensorflow_files: Path, tmp_path: Path, edge: str) -> None:
    file, format_id, precision = ROADS[edge]
    fixed = precision != "fp32"
    source = models.tensorflow_artifact(
        tensorflow_files / file, State(format_id, precision), 2 if fixed else None
    )
    if format_id == "tf-frozen":
        # This frozen graph has no signature: outputs bear the names of nodes.
        renamed = [
            TensorSpec(n, s.shape, s.dtype)
            for n, s in zip(("Relu_1", "SelectV2"), source.outputs, strict=True)
        ]
        source = Artifact(source.path, source.state, source.inputs, tuple(renamed))
    made = models.convert(EDGES[edge], source, tmp_path)
    seen = models.inspect(made.path)
    assert seen.state == made.state == State("openvino", precision)
    assert made.inputs == source.inputs
    assert made.outputs == source.outputs
    for batch in (2,) if fixed else (2, 3):
        with np.load(tensorflow_files / f"batch{batch}.npz") as values:
            given = {s.name: values[s.name] for s in source.inputs}
            expected = [values["map"], values["classes"]]
        if format_id == "tflite":
            expected = litert(source.path, given)
        got = models.run(made, [*given.values()])
        for ours, theirs in zip(got, expected, strict=True):
            # The integers of both runtimes may differ by a step of the last rounding.
            steps = 0.02 if precision == "int8" else 1e-5
            assert np.abs(ours - theirs).max() < steps * np.abs(theirs).max()


def litert(path: Path, given: dict[str, Any]) -> list[Any]:
    """What TFLite's own runtime computes."""
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(str(path))
    results = interpreter.get_signature_runner()(**given)
    return [results["map"], results["classes"]]


def test_turned_round_names_decide(tensorflow_files: Path, tmp_path: Path) -> None:
    """An artifact may list its tensors in another order than the file."""
    straight = models.tensorflow_artifact(tensorflow_files / "open.tflite", State("tflite"), None)
    turned = Artifact(straight.path, straight.state, straight.inputs[::-1], straight.outputs[::-1])
    made = models.convert(EDGES["openvino.from-tflite"], turned, tmp_path)
    assert [s.name for s in models.inspect(made.path).inputs] == ["flag", "ids", "image"]
    with np.load(tensorflow_files / "batch3.npz") as values:
        got = models.run(made, [values[s.name] for s in turned.inputs])
        np.testing.assert_allclose(got[0], values["classes"], **FLOAT_EXACT)
        np.testing.assert_allclose(got[1], values["map"], **FLOAT_EXACT)


def test_a_loop_of_tensorflow(tensorflow_files: Path, tmp_path: Path) -> None:
    source = Artifact(
        tensorflow_files / "lstm-saved",
        State("tf-saved"),
        (TensorSpec("x", (None, 5, 6), "float32"),),
        (TensorSpec("output_0", (None, 3), "float32"),),
    )
    edge = EDGES["openvino.from-tf-saved"]
    made = models.convert(edge, source, tmp_path)
    seen = models.inspect(made.path)
    assert seen.operators["Loop"] == 1
    assert seen.digest == models.inspect(models.convert(edge, source, tmp_path, "b").path).digest
    with np.load(tensorflow_files / "lstm.npz") as values:
        np.testing.assert_allclose(models.run(made, [values["x"]])[0], values["y"], **FLOAT_EXACT)


def quantized(source: Path, target: Path) -> None:
    """A static int8 model in the style that OpenVINO reads."""
    quantization = pytest.importorskip("onnxruntime.quantization")
    case = models.onnx_case("cnn", source.parent)
    names = [s.name for s in case.artifact.inputs]

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            self.left = iter(range(4))

        def get_next(self) -> Any:
            number = next(self.left, None)
            if number is None:
                return None
            return dict(zip(names, case.draw(number + 1), strict=True))

    quantization.quantize_static(str(source), str(target), Reader(), per_channel=True)


def test_int8_of_onnx_stays_int8(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    case = models.onnx_case("cnn", tmp_path)
    path = tmp_path / "int8.onnx"
    quantized(case.artifact.path, path)
    source = Artifact(path, State("onnx", "int8"), case.artifact.inputs, case.artifact.outputs)
    made = models.convert(EDGES["openvino.from-onnx-int8"], source, tmp_path)
    seen = models.inspect(made.path)
    assert str(seen.state) == "openvino-int8"
    assert seen.integer_macs == seen.macs > 0
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs = case.draw(2)
    feeds = dict(zip((s.name for s in source.inputs), inputs, strict=True))
    for ours, theirs in zip(models.run(made, inputs), session.run(None, feeds), strict=True):
        assert np.abs(ours - theirs).max() < 0.02 * np.abs(theirs).max()


def test_half_weights_of_onnx_stay_half(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = models.onnx_model("cnn")
    half = onnx.TensorProto.FLOAT16
    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor).astype("float16")
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = half
    path = tmp_path / "half.onnx"
    onnx.save(model, path)
    source = models.onnx_artifact(path, model)
    made = models.convert(EDGES["openvino.from-onnx-fp16"], source, tmp_path)
    assert str(models.inspect(made.path).state) == "openvino-fp16"
    assert {s.dtype for s in (*made.inputs, *made.outputs)} == {"float16"}
    case = models.onnx_case("cnn", tmp_path)
    inputs = case.draw(2)
    halves = models.run(made, [a.astype(np.float16) for a in inputs])
    for ours, theirs in zip(halves, case.expect(inputs), strict=True):
        assert np.abs(ours - theirs).max() < 0.01 * np.abs(theirs).max()


@pytest.fixture
def plain(tmp_path: Path) -> tuple[models.Case, Artifact]:
    pytest.importorskip("onnx")
    case = models.onnx_case("cnn", tmp_path)
    return case, models.convert(EDGES["openvino.from-onnx"], case.artifact, tmp_path / "plain")


def test_float_weights_are_not_compressed(plain: tuple[models.Case, Artifact]) -> None:
    assert "float16" not in models.inspect(plain[1].path).parameter_bytes


def test_fp16(plain: tuple[models.Case, Artifact], tmp_path: Path) -> None:
    case, source = plain
    made = models.convert(EDGES["openvino.fp16"], source, tmp_path / "half")
    seen = models.inspect(made.path)
    assert str(seen.state) == "openvino-fp16"
    assert (
        seen.parameter_bytes["float16"] * 2
        == models.inspect(source.path).parameter_bytes["float32"]
    )
    assert {s.dtype for s in (*made.inputs, *made.outputs)} == {"float32"}
    inputs = case.draw(2)
    for ours, theirs in zip(models.run(made, inputs), case.expect(inputs), strict=True):
        difference = np.abs(ours - theirs).max()
        assert 0 < difference < 5e-3 * np.abs(theirs).max()


def test_fp16_keeps_what_half_cannot_hold(tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    from openvino import opset13 as operators

    generator = np.random.default_rng(0)
    mask = np.array([[0, -np.inf, 0, 0]], np.float32)
    weights = generator.standard_normal((4, 4), np.float32)
    weights[0, 0] = 1e6
    x = operators.parameter([1, 4], np.float32, name="x")
    x.output(0).set_names({"x"})
    big = operators.matmul(x, operators.constant(weights), False, False)
    kept = operators.multiply(x, operators.constant(generator.standard_normal((64, 4), np.float32)))
    masked = operators.add(x, operators.constant(mask))
    model = openvino.Model([operators.result(v) for v in (big, kept, masked)], [x], "m")
    openvino.save_model(model, tmp_path / "m.xml", compress_to_fp16=False)
    source = models.opened(tmp_path / "m.xml")
    made = models.convert(EDGES["openvino.fp16"], source, tmp_path / "half")
    assert models.inspect(made.path).parameter_bytes == {"float16": 512, "float32": 80}
    ours = models.run(made, [np.ones((1, 4), np.float32)])
    np.testing.assert_allclose(ours[0], weights.sum(0, keepdims=True), rtol=1e-6)
    assert ours[2][0, 1] == -np.inf


@pytest.fixture
def exotic(tmp_path: Path) -> Artifact:
    onnx = pytest.importorskip("onnx")
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 13, "my": 1]>'
        "g (float[3,3] x) => (float[] z)"
        "{ a = Relu (x) y = Det (a) z = my.Odd (y) }"
    )
    model.graph.node[1].name = "/deep/Det"
    onnx.save(model, tmp_path / "exotic.onnx")
    return models.onnx_artifact(tmp_path / "exotic.onnx", model)


def test_missing_operators_are_foreseen(exotic: Artifact) -> None:
    found = EDGES["openvino.from-onnx"].check(exotic, {})
    assert [(o.what, o.layers) for o in found] == [("Det", ("/deep/Det",)), ("my.Odd", ("Odd_2",))]
    assert all(o.remedy for o in found)


def test_missing_operators_are_named(exotic: Artifact, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"Det, my\.Odd") as caught:
        models.convert(EDGES["openvino.from-onnx"], exotic, tmp_path / "out")
    assert caught.value.__cause__ is not None
    assert not list((tmp_path / "out").glob("artifact*"))


def test_nothing_is_held_against_a_good_model(plain: tuple[models.Case, Artifact]) -> None:
    assert not EDGES["openvino.from-onnx"].check(plain[0].artifact, {})


def test_a_program_with_state_is_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")

    class Counter(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, x: Any) -> Any:
            self.seen += 1
            return x * self.seen

    program = torch.export.export(Counter(), (torch.ones(2),))
    torch.export.save(program, tmp_path / "counter.pt2")
    specs = (TensorSpec("x", (2,), "float32"),), (TensorSpec("mul", (2,), "float32"),)
    source = Artifact(tmp_path / "counter.pt2", State("torch"), *specs)
    edge = EDGES["openvino.from-torch"]
    (obstacle,) = edge.check(source, {})
    assert obstacle.remedy
    with pytest.raises(ConversionError, match="seen"):
        models.convert(edge, source, tmp_path)


def test_an_output_that_is_not_there(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    source = models.onnx_case("cnn", tmp_path).artifact
    strange = TensorSpec("nowhere", (2, 9, 9), "float32")
    wrong = Artifact(source.path, source.state, source.inputs, (strange,))
    with pytest.raises(ConversionError, match="nowhere"):
        models.convert(EDGES["openvino.from-onnx"], wrong, tmp_path)


def test_damaged_variables_are_noticed(tensorflow_files: Path, tmp_path: Path) -> None:
    """OpenVINO would take any bytes of the right length for weights."""
    folder = tmp_path / "model-saved"
    shutil.copytree(tensorflow_files / "fixed-saved", folder)
    (data,) = (folder / "variables").glob("*.data-*")
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 0x40
    data.write_bytes(content)
    source = models.tensorflow_artifact(folder, State("tf-saved"), 2)
    with pytest.raises(InputError, match="variables of model-saved are damaged"):
        models.convert(EDGES["openvino.from-tf-saved"], source, tmp_path / "out")


def test_a_damaged_signature(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    from convkit_openvino.tflite_names import signature

    (tmp_path / "m.tflite").write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes([250] * 40))
    with pytest.raises(InputError):
        signature(tmp_path / "m.tflite")


def test_operators_carry_their_module(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    case = models.torch_case("cnn", tmp_path)
    made = models.convert(EDGES["openvino.from-torch"], case.artifact, tmp_path)
    scopes = {x.op_type: x.scope for x in models.inspect(made.path).layers}
    assert scopes["Swish"] == "stem.2"
    convolutions = [x for x in models.inspect(made.path).layers if x.op_type == "Convolution"]
    # The first one has a batch normalization folded into it, which costs OpenVINO its name.
    assert {x.scope for x in convolutions} == {"stem.0", "boxes"}
