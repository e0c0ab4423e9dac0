"""SavedModel to TFLite in every precision, and keeping layers in float."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from convkit.errors import CalibrationError, ConversionError, InputError
from convkit.plugin import (
    Artifact,
    CalibrationData,
    HopContext,
    QuantRecipe,
    QuantRule,
    State,
    TensorSpec,
    sample_key,
)
from convkit_tensorflow import tfl_layers, tfl_model
from convkit_tensorflow.plugin import convkit_converters
from convkit_tensorflow.tflite_int8 import StaticInt8

tf = pytest.importorskip("tensorflow")
litert = pytest.importorskip("ai_edge_litert.interpreter")

FLOAT = TensorSpec("image", (1, 16, 16, 3), "float32")
DATA_MOVERS = ("SPLIT", "UNPACK")


def _weights(*shape: int, seed: int) -> Any:
    return tf.constant(0.2 * np.random.default_rng(seed).standard_normal(shape), tf.float32)


def _detector(folder: Path) -> Artifact:
    """Convolutions, operators with several results, and a head that mixes scales as YOLO's does.

    The output `scored` joins values around 100 with scores in 0..1.
    """

    class Detector(tf.Module):
        @tf.function
        def __call__(self, image: Any) -> dict[str, Any]:
            x = tf.nn.relu(tf.nn.conv2d(image, _weights(3, 3, 3, 32, seed=1), 1, "SAME"))
            a, b = tf.split(x, 2, -1)
            x = tf.concat([tf.sigmoid(b) * a, a], -1)
            x = tf.nn.conv2d(x, _weights(3, 3, 32, 64, seed=2), 2, "SAME")
            x = tf.nn.conv2d(x * tf.sigmoid(x), _weights(1, 1, 64, 16, seed=3), 1, "SAME")
            c, d = tf.split(x, 2, -1)
            p, q = tf.unstack(tf.reshape(c * d, (1, 8, 8, 2, 4)), axis=3)
            boxes = tf.reshape(p * 40.0 + q, (1, -1))
            scores = tf.reshape(tf.sigmoid(d), (1, -1))
            return {"scored": tf.concat([boxes, scores], 1), "mask": tf.nn.softmax(c)}

    module = Detector()
    function = module.__call__.get_concrete_function(
        tf.TensorSpec(FLOAT.shape, tf.float32, name="image")
    )
    tf.saved_model.save(module, str(folder), signatures=function)
    outputs = (
        TensorSpec("scored", (1, 256 + 512), "float32"),
        TensorSpec("mask", (1, 8, 8, 8), "float32"),
    )
    return Artifact(folder, State("tf-saved"), (FLOAT,), outputs)


def _two(folder: Path) -> Artifact:
    """Two inputs and outputs whose order is not that of their names; one input is int64."""

    class Two(tf.Module):
        @tf.function
        def __call__(self, zeta: Any, alpha: Any) -> dict[str, Any]:
            mean = tf.reduce_mean(tf.gather(_weights(50, 8, seed=4), alpha), axis=1)
            mean = tf.matmul(mean, _weights(8, 4, seed=5))
            return {"sum": mean + zeta, "difference": mean - zeta}

    module = Two()
    function = module.__call__.get_concrete_function(
        zeta=tf.TensorSpec((1, 4), tf.float32, name="zeta"),
        alpha=tf.TensorSpec((1, 7), tf.int64, name="alpha"),
    )
    tf.saved_model.save(module, str(folder), signatures=function)
    return Artifact(
        folder,
        State("tf-saved"),
        (TensorSpec("zeta", (1, 4), "float32"), TensorSpec("alpha", (1, 7), "int64")),
        (TensorSpec("sum", (1, 4), "float32"), TensorSpec("difference", (1, 4), "float32")),
    )


def _lstm(folder: Path, batch: int | None = 1) -> Artifact:
    """A Keras model, saved with a fixed batch size as TFLite needs for recurrent layers."""
    tf.keras.utils.set_random_seed(3)
    layers = [tf.keras.layers.LSTM(8, name="memory"), tf.keras.layers.Dense(3, name="out")]
    model = tf.keras.Sequential([tf.keras.Input((6, 5)), *layers])
    function = tf.function(lambda sequence: {"state": model(sequence)})
    signature = function.get_concrete_function(
        tf.TensorSpec((batch, 6, 5), tf.float32, name="sequence")
    )
    tf.saved_model.save(model, str(folder), signatures=signature)
    return Artifact(
        folder,
        State("tf-saved"),
        (TensorSpec("sequence", (batch, 6, 5), "float32"),),
        (TensorSpec("state", (batch, 3), "float32"),),
    )


def _lstm_without_batch(folder: Path) -> Artifact:
    return _lstm(folder, batch=None)


def _erf(folder: Path) -> Artifact:
    """An operator without a TFLite builtin."""

    class Erf(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((1, 4), tf.float32)])
        def __call__(self, x: Any) -> dict[str, Any]:
            return {"y": tf.math.erf(x)}

    module = Erf()
    tf.saved_model.save(module, str(folder), signatures=module.__call__)
    spec = TensorSpec("x", (1, 4), "float32")
    return Artifact(folder, State("tf-saved"), (spec,), (TensorSpec("y", (1, 4), "float32"),))


class Models:
    """SavedModels, made once, and their conversions into a folder per test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[str, Artifact] = {}
        self._count = 0
        self._converters = {c.name: c for c in convkit_converters()}

    def __call__(self, build: Callable[[Path], Artifact]) -> Artifact:
        if build.__name__ not in self._made:
            self._made[build.__name__] = build(self._folder / f"{build.__name__}-saved")
        return self._made[build.__name__]

    def convert(
        self,
        build: Callable[[Path], Artifact],
        edge: str,
        float_layers: Sequence[str] = (),
        options: Mapping[str, str] | None = None,
        samples: int = 16,
    ) -> Artifact:
        artifact = self(build)
        self._count += 1
        folder = self._folder / f"{build.__name__}-{self._count}"
        folder.mkdir()
        (folder / "work").mkdir()
        context = HopContext(
            folder / "work",
            lambda phase, fraction: None,
            calibration=self.calibration(artifact, folder, samples),
            recipe=QuantRecipe("test", (QuantRule(tuple(float_layers), "test"),)),
            threads=1,
        )
        output = folder / "model.tflite"
        result = self._converters[edge].convert(artifact, output, options or {}, context)
        assert result.path == output
        assert {p.name for p in folder.iterdir()} <= {
            "model.tflite",
            "set.safetensors",
            "work",
        }
        return result

    @staticmethod
    def calibration(artifact: Artifact, folder: Path, count: int) -> CalibrationData:
        arrays = {
            sample_key(n, i): value
            for n in range(count)
            for i, value in enumerate(_inputs(artifact, seed=100 + n))
        }
        save_file(arrays, folder / "set.safetensors")
        return CalibrationData(folder / "set.safetensors", count, "digest", "random")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(tmp_path_factory.mktemp("tflite"))


def _inputs(artifact: Artifact, seed: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [
        rng.integers(0, 50, shape).astype(dtype)
        if "int" in dtype
        else rng.random(shape, dtype=np.float32)
        for shape, dtype in (
            (tuple(d if isinstance(d, int) else 1 for d in s.shape), s.dtype)
            for s in artifact.inputs
        )
    ]


def _reference(artifact: Artifact, inputs: Sequence[Any]) -> list[Any]:
    function = tf.saved_model.load(str(artifact.path)).signatures["serving_default"]
    values = function(
        **{s.name: tf.constant(x) for s, x in zip(artifact.inputs, inputs, strict=True)}
    )
    return [values[s.name].numpy() for s in artifact.outputs]


def _run(artifact: Artifact, inputs: Sequence[Any]) -> list[Any]:
    """By the runtime that ships, with signature names."""
    runner = litert.Interpreter(model_path=str(artifact.path)).get_signature_runner()
    values = runner(
        **{s.name: x.astype(s.dtype) for s, x in zip(artifact.inputs, inputs, strict=True)}
    )
    return [values[s.name] for s in artifact.outputs]


def _decibels(expected: Any, value: Any) -> float:
    noise = float(np.square(expected - value).mean())
    return float(10 * np.log10(np.square(expected).mean() / max(noise, 1e-30)))


def _layers(path: Path) -> dict[str, tuple[str, bool]]:
    """Layer name to operator type and whether any operand of it is quantized."""
    model = tfl_model.read(path.read_bytes())
    graph = model.subgraphs[0]
    return {
        name: (kind, any(tfl_model.is_quantized(graph.tensors[i]) for i in (*op.inputs, *op.outputs)
                         if i >= 0))
        for name, kind, op in zip(
            tfl_layers.layer_names(model), tfl_model.op_types(model), graph.operators, strict=True
        )
    }  # fmt: skip


@pytest.mark.parametrize("build", [_detector, _two, _lstm])
def test_float32_is_exact_and_keeps_order(
    models: Models, build: Callable[[Path], Artifact]
) -> None:
    result = models.convert(build, "tensorflow.tflite")
    source = models(build)
    assert [s.name for s in result.inputs] == [s.name for s in source.inputs]
    assert [s.name for s in result.outputs] == [s.name for s in source.outputs]
    assert [s.shape for s in result.inputs] == [s.shape for s in source.inputs]
    inputs = _inputs(source, seed=1)
    for value, expected in zip(_run(result, inputs), _reference(source, inputs), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("edge", "stored", "decibels"),
    [("tensorflow.tflite-fp16", "float16", 50), ("tensorflow.tflite-dynamic", "int8", 25)],
)
def test_weights_are_compressed(models: Models, edge: str, stored: str, decibels: float) -> None:
    result = models.convert(_detector, edge)
    model = tfl_model.read(result.path.read_bytes())
    names = tfl_model.dtype_names()
    sizes: dict[str, int] = {}
    for tensor in model.subgraphs[0].tensors:
        if tfl_model.is_constant(model, tensor):
            kind = names[tensor.type]
            sizes[kind] = sizes.get(kind, 0) + int(np.prod(tensor.shape))
    assert max(sizes, key=lambda kind: sizes[kind]) == stored
    inputs = _inputs(models(_detector), seed=1)
    boxes = slice(0, 256)
    value, expected = _run(result, inputs)[0], _reference(models(_detector), inputs)[0]
    assert _decibels(expected[:, boxes], value[:, boxes]) > decibels


def test_int8_is_integer_throughout_and_keeps_layer_names(models: Models) -> None:
    floats = _layers(models.convert(_detector, "tensorflow.tflite").path)
    result = models.convert(_detector, "tensorflow.tflite-int8")
    found = _layers(result.path)
    assert set(floats) <= set(found)
    assert {name: found[name][0] for name in floats} == {n: k for n, (k, _) in floats.items()}
    assert all(found[name][1] for name in floats)
    assert {found[n][0] for n in set(found) - set(floats)} <= {"QUANTIZE", "DEQUANTIZE"}
    assert result.inputs == (FLOAT,)
    assert result.state == State("tflite", "int8")


def test_weights_have_a_scale_per_output_channel(models: Models) -> None:
    model = tfl_model.read(models.convert(_detector, "tensorflow.tflite-int8").path.read_bytes())
    graph = model.subgraphs[0]
    convolutions = [
        op
        for op, kind in zip(graph.operators, tfl_model.op_types(model), strict=True)
        if kind == "CONV_2D"
    ]
    assert len(convolutions) == 3
    for op in convolutions:
        weight = graph.tensors[op.inputs[1]]
        assert len(weight.quantization.scale) == weight.shape[0] > 1


def test_a_float_head_saves_the_scores(models: Models) -> None:
    head = _after_convolutions(models)
    inputs = _inputs(models(_detector), seed=1)
    expected = _reference(models(_detector), inputs)[0][:, 256:]
    plain = _run(models.convert(_detector, "tensorflow.tflite-int8"), inputs)[0][:, 256:]
    result = models.convert(_detector, "tensorflow.tflite-int8", head)
    kept = _run(result, inputs)[0][:, 256:]
    assert _decibels(expected, plain) < 25 < 30 < _decibels(expected, kept)
    found = _layers(result.path)
    assert {name for name, (_, quantized) in found.items() if quantized} >= {
        name for name, (kind, _) in found.items() if kind == "CONV_2D"
    }
    assert not any(found[name][1] for name in head)
    # Nothing in the head passes through int8 and back: one DEQUANTIZE where it begins.
    assert sum(kind == "DEQUANTIZE" for kind, _ in found.values()) == 1
    assert sum(kind == "QUANTIZE" for kind, _ in found.values()) == 1


def _after_convolutions(models: Models) -> list[str]:
    names = list(_layers(models.convert(_detector, "tensorflow.tflite").path).items())
    last = max(i for i, (_, (kind, _)) in enumerate(names) if kind == "CONV_2D")
    return [name for name, _ in names[last + 1 :]]


def test_one_layer_of_any_type_can_be_kept_in_float(models: Models) -> None:
    floats = _layers(models.convert(_detector, "tensorflow.tflite").path)
    assert {"SPLIT", "UNPACK", "LOGISTIC", "SOFTMAX", "CONCATENATION", "RESHAPE", "CONV_2D"} <= {
        kind for kind, _ in floats.values()
    }
    inputs = _inputs(models(_detector), seed=1)
    expected = _reference(models(_detector), inputs)[1]
    one_of_each = {kind: name for name, (kind, _) in floats.items()}
    for kind, name in one_of_each.items():
        result = models.convert(_detector, "tensorflow.tflite-int8", [name], samples=2)
        found = _layers(result.path)
        assert found[name] == (kind, False)
        others = [n for n, (_, quantized) in found.items() if quantized and n in floats]
        assert len(others) == len(floats) - 1, f"more than {name} became float"
        assert _decibels(expected, _run(result, inputs)[1]) > 15


def test_keeping_everything_in_float_is_no_int8_file(models: Models) -> None:
    floats = _layers(models.convert(_detector, "tensorflow.tflite").path)
    single = [name for name, (kind, _) in floats.items() if kind not in DATA_MOVERS]
    result = models.convert(_detector, "tensorflow.tflite-int8", single, samples=2)
    kinds = {kind for kind, quantized in _layers(result.path).values() if quantized}
    assert kinds <= {*DATA_MOVERS, "QUANTIZE", "DEQUANTIZE"}
    everything = list(_layers(models.convert(_two, "tensorflow.tflite").path))
    with pytest.raises(ConversionError, match="left to be quantized"):
        models.convert(_two, "tensorflow.tflite-int8", everything, samples=2)


def test_an_unknown_layer_is_an_error(models: Models) -> None:
    with pytest.raises(ConversionError, match="no such layer") as caught:
        models.convert(_detector, "tensorflow.tflite-int8", ["nothing/like/this"], samples=2)
    assert "nothing/like/this" in caught.value.message


def test_integer_inputs_and_outputs_carry_their_scale(models: Models) -> None:
    result = models.convert(_detector, "tensorflow.tflite-int8", options={"io": "integer"})
    specs = (*result.inputs, *result.outputs)
    assert {s.dtype for s in specs} == {"int8"}
    inputs = _inputs(models(_detector), seed=1)
    (spec,) = result.inputs
    assert spec.scale is not None
    assert spec.zero_point is not None
    integers = np.clip(np.round(inputs[0] / spec.scale) + spec.zero_point, -128, 127)
    mask, spec = _run(result, [integers])[1], result.outputs[1]
    assert spec.scale is not None
    assert spec.zero_point is not None
    value = (mask.astype(np.float32) - spec.zero_point) * spec.scale
    assert _decibels(_reference(models(_detector), inputs)[1], value) > 15


def test_two_inputs_of_two_types_are_calibrated(models: Models) -> None:
    result = models.convert(_two, "tensorflow.tflite-int8")
    assert [(s.name, s.dtype) for s in result.inputs] == [("zeta", "float32"), ("alpha", "int64")]
    inputs = _inputs(models(_two), seed=1)
    for value, expected in zip(_run(result, inputs), _reference(models(_two), inputs), strict=True):
        assert _decibels(expected, value) > 20


def test_a_keras_lstm_gets_integer_weights(models: Models) -> None:
    result = models.convert(_lstm, "tensorflow.tflite-dynamic")
    inputs = _inputs(models(_lstm), seed=1)
    (value,), (expected,) = _run(result, inputs), _reference(models(_lstm), inputs)
    assert _decibels(expected, value) > 20


def test_a_loop_is_refused_where_the_calibrator_would_crash(models: Models) -> None:
    with pytest.raises(ConversionError, match="WHILE"):
        models.convert(_lstm, "tensorflow.tflite-int8")


def test_the_same_call_gives_the_same_bytes(models: Models) -> None:
    head = _after_convolutions(models)
    first, second = (
        models.convert(_detector, "tensorflow.tflite-int8", head).path.read_bytes()
        for _ in range(2)
    )
    assert first == second


def test_sharing_vectors_changes_nothing_but_the_size(models: Models) -> None:
    from tensorflow.lite.tools.flatbuffer_utils import convert_object_to_bytearray

    shared = models.convert(_detector, "tensorflow.tflite-int8").path.read_bytes()
    model = tfl_model.read(shared)
    plain = convert_object_to_bytearray(model)
    assert len(shared) < 0.97 * len(plain)
    assert tfl_model.write(tfl_model.read(plain)) == shared
    for buffer in model.buffers:
        if buffer.data is not None and len(buffer.data):
            assert buffer.data.__array_interface__["data"][0] % 4 == 0
    inputs = _inputs(models(_detector), seed=1)
    values = []
    for content in (shared, plain):
        runner = litert.Interpreter(model_content=bytes(content)).get_signature_runner()
        values.append(runner(image=inputs[0])["mask"])
    np.testing.assert_array_equal(*values)


def test_operators_without_a_builtin_are_named(models: Models) -> None:
    with pytest.raises(ConversionError, match="Erf") as caught:
        models.convert(_erf, "tensorflow.tflite")
    assert caught.value.__cause__ is not None


def test_a_recurrent_layer_with_a_free_batch_says_what_to_do(models: Models) -> None:
    with pytest.raises(ConversionError, match="static") as caught:
        models.convert(_lstm_without_batch, "tensorflow.tflite")
    assert "batch" in caught.value.hint
    assert "loc(" not in caught.value.message


def test_calibration_is_needed_and_must_fit(models: Models, tmp_path: Path) -> None:
    artifact = models(_two)
    output = tmp_path / "m.tflite"
    context = HopContext(tmp_path, lambda phase, fraction: None)
    with pytest.raises(CalibrationError):
        StaticInt8().convert(artifact, output, {}, context)
    save_file({sample_key(0, 0): np.zeros((1, 4), np.float32)}, tmp_path / "set.safetensors")
    data = CalibrationData(tmp_path / "set.safetensors", 1, "", "")
    context = HopContext(tmp_path, lambda phase, fraction: None, calibration=data)
    with pytest.raises(CalibrationError):
        StaticInt8().convert(artifact, output, {}, context)
    assert not output.exists()


@pytest.mark.parametrize("edge", [c.name for c in convkit_converters()])
def test_damaged_saved_models(models: Models, tmp_path: Path, edge: str) -> None:
    folder = tmp_path / "m-saved"
    folder.mkdir()
    content = (models(_two).path / "saved_model.pb").read_bytes()
    (folder / "saved_model.pb").write_bytes(content[: len(content) // 2])
    artifact = Artifact(folder, State("tf-saved"), models(_two).inputs, models(_two).outputs)
    (converter,) = (c for c in convkit_converters() if c.name == edge)
    data = Models.calibration(models(_two), tmp_path, 1)
    context = HopContext(tmp_path, lambda phase, fraction: None, calibration=data)
    with pytest.raises(InputError, match="m-saved"):
        converter.convert(artifact, tmp_path / "output", {}, context)
    assert not (tmp_path / "output").exists()
