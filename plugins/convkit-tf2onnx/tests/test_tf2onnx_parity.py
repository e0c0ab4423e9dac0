"""What tf2onnx makes of real networks, and what is found out beforehand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convkit.errors import ConversionError, InputError
from convkit.plugin import Artifact, HopContext, State, TensorSpec
from convkit_tf2onnx.from_frozen import FromFrozen
from convkit_tf2onnx.from_saved import FromSaved
from convkit_tf2onnx.from_tflite import FromTflite

tf = pytest.importorskip("tensorflow")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("tf2onnx")
Freeze = pytest.importorskip("convkit_tensorflow.freeze").Freeze
Float32 = pytest.importorskip("convkit_tensorflow.tflite_float").Float32

OPSET = {"opset": 18}
EDGES = {"saved": FromSaved(), "frozen": FromFrozen(), "tflite": FromTflite()}


def _keras() -> Any:
    tf.keras.utils.set_random_seed(7)
    return tf.keras, tf.keras.layers


def _random(model: Any) -> Any:
    """Biases and norms of a fresh model are zeros and ones, under which much goes unseen."""
    rng = np.random.default_rng(3)
    for weight in model.weights:
        shift = 1.0 if "variance" in weight.path else 0.0
        weight.assign(shift + np.abs(0.3 * rng.standard_normal(weight.shape)))
    return model


def _convolutions() -> tuple[Any, list[TensorSpec]]:
    """Every kind of convolution, pooling and resizing, and two outputs."""
    keras, layers = _keras()
    image = keras.Input((24, 24, 4))
    x = layers.BatchNormalization()(layers.Conv2D(8, 3, 2, "same", activation="relu")(image))
    x = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(x)
    x = layers.DepthwiseConv2D(3, padding="same", dilation_rate=2)(layers.ReLU(6.0)(x))
    x = layers.SeparableConv2D(8, 3)(x)
    x = layers.UpSampling2D(2, interpolation="bilinear")(layers.MaxPool2D()(x))
    x = layers.Conv2DTranspose(6, 3, 2, "same", activation="relu")(x)
    x = layers.AveragePooling2D(3, 1, "same")(layers.Conv2D(6, 3, activation="swish")(x))
    scores = layers.Dense(5, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    return _random(keras.Model(image, [scores, x])), [
        TensorSpec("image", (1, 24, 24, 4), "float32")
    ]


def _flattened() -> tuple[Any, list[TensorSpec]]:
    """FULLY_CONNECTED with inputs of rank 2 and 3, and two inputs not in the order of names."""
    keras, layers = _keras()
    x, y = keras.Input((6, 6, 3)), keras.Input((7, 12))
    flat = layers.Dense(9, activation="relu")(layers.Flatten()(layers.Conv2D(4, 3)(x)))
    rows = layers.Dense(4)(layers.Dense(9, activation="relu")(y))
    model = _random(keras.Model([x, y], [flat, rows]))
    return model, [
        TensorSpec("zulu", (1, 6, 6, 3), "float32"),
        TensorSpec("alpha", (1, 7, 12), "float32"),
    ]


def _encoder() -> tuple[Any, list[TensorSpec]]:
    """Token ids and a boolean mask through embedding, attention and exact GELU."""
    keras, layers = _keras()
    ids, mask = keras.Input((10,), dtype="int32"), keras.Input((10,), dtype="bool")
    x = layers.Embedding(50, 16)(ids)
    x = layers.LayerNormalization()(
        x + layers.MultiHeadAttention(2, 8)(x, x, attention_mask=mask[:, None])
    )
    x = layers.LayerNormalization()(x + layers.Dense(16)(layers.Dense(32, activation="gelu")(x)))
    model = _random(keras.Model([ids, mask], [x, layers.Dense(2)(x[:, 0])]))
    return model, [TensorSpec("ids", (1, 10), "int32"), TensorSpec("mask", (1, 10), "bool")]


def _recurrent() -> tuple[Any, list[TensorSpec]]:
    """Two loops, the second of which reads what the first collects."""
    keras, layers = _keras()
    x = keras.Input((6, 5))
    y = layers.GRU(7)(layers.LSTM(8, return_sequences=True)(x))
    return _random(keras.Model(x, layers.Dense(3)(y))), [TensorSpec("x", (1, 6, 5), "float32")]


BUILDERS = {f.__name__.strip("_"): f for f in (_convolutions, _flattened, _encoder, _recurrent)}


class Module(tf.Module):  # type: ignore[misc]
    """A function of tensors as a model."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def __call__(self, x: Any, training: bool = False) -> Any:
        return self.function(*x) if isinstance(x, (tuple, list)) else self.function(x)


class Models:
    """Each model in each format, made once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[tuple[str, str, int | None], Artifact] = {}

    def __call__(self, name: str, kind: str, batch: int | None = 1) -> Artifact:
        key = (name, kind, batch)
        if key not in self._made:
            folder = self._folder / f"{name}-{kind}-{batch}"
            folder.mkdir()
            if kind == "saved":
                self._made[key] = _save(*BUILDERS[name](), folder / "m-saved", batch)
            else:
                source = self(name, "saved", batch)
                (folder / "work").mkdir()
                made, suffix = (Freeze(), "pb") if kind == "frozen" else (Float32(), "tflite")
                context = HopContext(folder / "work", lambda phase, fraction: None)
                self._made[key] = made.convert(source, folder / f"m.{suffix}", {}, context)
        return self._made[key]


def _save(model: Any, specs: Sequence[TensorSpec], path: Path, batch: int | None = 1) -> Artifact:
    """Outputs are called `second` and `first`, so that their order is not that of names."""
    sized = [TensorSpec(s.name, (batch, *s.shape[1:]), s.dtype) for s in specs]

    def call(*x: Any) -> dict[str, Any]:
        made = model(x if len(x) > 1 else x[0], training=False)
        values = made if isinstance(made, (list, tuple)) else [made]
        return dict(zip(("second", "first", "third"), values, strict=False))

    function = tf.function(call).get_concrete_function(
        *(tf.TensorSpec(s.shape, s.dtype, name=s.name) for s in sized)
    )
    tf.saved_model.save(model, str(path), signatures=function)
    outputs = tuple(
        TensorSpec(name, tuple(t.shape), t.dtype.name)
        for name, t in function.structured_outputs.items()
    )
    order = [n for n in ("second", "first", "third") if n in {o.name for o in outputs}]
    return Artifact(
        path,
        State("tf-saved"),
        tuple(sized),
        tuple(sorted(outputs, key=lambda o: order.index(o.name))),
    )


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(tmp_path_factory.mktemp("models"))


def _inputs(specs: Sequence[TensorSpec], batch: int = 1) -> list[Any]:
    rng = np.random.default_rng(11)
    shapes = [tuple(d if isinstance(d, int) else batch for d in s.shape) for s in specs]
    return [
        rng.standard_normal(shape).astype(np.float32)
        if s.dtype == "float32"
        else rng.integers(0, 2 if s.dtype == "bool" else 40, shape).astype(s.dtype)
        for s, shape in zip(specs, shapes, strict=True)
    ]


def _expected(source: Artifact, inputs: Sequence[Any]) -> list[Any]:
    function = tf.saved_model.load(str(source.path)).signatures["serving_default"]
    values = function(
        **{s.name: tf.constant(x) for s, x in zip(source.inputs, inputs, strict=True)}
    )
    return [values[s.name].numpy() for s in source.outputs]


def _convert(
    artifact: Artifact, folder: Path, options: Mapping[str, Any] = OPSET, kind: str = ""
) -> Artifact:
    kind = kind or artifact.state.format.removeprefix("tf-")
    work = folder / "work"
    work.mkdir(exist_ok=True)
    context = HopContext(work, lambda phase, fraction: None, threads=1)
    result = EDGES[kind].convert(artifact, folder / "m.onnx", options, context)
    assert {p.name for p in folder.iterdir()} == {"work", "m.onnx"}
    return result


def _run(result: Artifact, inputs: Sequence[Any]) -> list[Any]:
    session = onnxruntime.InferenceSession(str(result.path))
    feeds = {s.name: x for s, x in zip(result.inputs, inputs, strict=True)}
    values: list[Any] = session.run([s.name for s in result.outputs], feeds)
    return values


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (name, kind)
        for name in BUILDERS
        for kind in EDGES
        if (name, kind) != ("recurrent", "frozen")  # foreseen, see below
    ],
)
def test_results_agree_with_tensorflow(
    models: Models, name: str, kind: str, tmp_path: Path
) -> None:
    artifact = models(name, kind)
    assert not EDGES[kind].check(artifact, OPSET)
    result = _convert(artifact, tmp_path)
    assert [s.name for s in result.inputs] == [s.name for s in artifact.inputs]
    assert [s.name for s in result.outputs] == [s.name for s in artifact.outputs]
    assert [s.shape for s in result.inputs] == [s.shape for s in artifact.inputs]
    assert [s.dtype for s in result.inputs] == [s.dtype for s in artifact.inputs]
    inputs = _inputs(result.inputs)
    expected = _expected(models(name, "saved"), inputs)
    for value, truth in zip(_run(result, inputs), expected, strict=True):
        assert truth.std() > 1e-3, "a constant output proves nothing"
        np.testing.assert_allclose(value, truth, rtol=1e-4, atol=1e-5)


def test_the_models_hold_what_bare_tf2onnx_gets_wrong(models: Models) -> None:
    """Without these the parity above would say nothing about the repairs."""
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools.flatbuffer_utils import read_model

    def found(name: str, operator: int) -> list[Any]:
        return _operators(read_model(str(models(name, "tflite").path)), operator)

    kinds = schema.BuiltinOperator
    depthwise = found("convolutions", kinds.DEPTHWISE_CONV_2D)
    assert any(op.builtinOptions.dilationHFactor == 2 for op in depthwise)
    assert any(len(op.inputs) == 4 for op in found("convolutions", kinds.TRANSPOSE_CONV))
    assert found("encoder", kinds.GELU)
    assert len(found("recurrent", kinds.WHILE)) == 2


def _operators(model: Any, kind: int) -> list[Any]:
    codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in model.operatorCodes]
    return [op for op in model.subgraphs[0].operators if codes[op.opcodeIndex] == kind]


def test_a_bias_behind_a_flattened_input_is_kept(models: Models, tmp_path: Path) -> None:
    """FULLY_CONNECTED flattens an input of any rank; bare tf2onnx then drops the bias."""
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools.flatbuffer_utils import read_model, write_model

    artifact = models("flattened", "tflite")
    model = read_model(str(artifact.path))
    reshapes = {
        op.outputs[0]: op.inputs[0] for op in _operators(model, schema.BuiltinOperator.RESHAPE)
    }
    (dense,) = (
        op
        for op in _operators(model, schema.BuiltinOperator.FULLY_CONNECTED)
        if op.inputs[0] in reshapes
    )
    assert not dense.builtinOptions.keepNumDims
    assert dense.inputs[2] >= 0
    dense.inputs[0] = reshapes[dense.inputs[0]]
    assert len(model.subgraphs[0].tensors[dense.inputs[0]].shape) == 4
    path = tmp_path / "m.tflite"
    write_model(model, str(path))
    (tmp_path / "out").mkdir()
    result = _convert(
        Artifact(path, artifact.state, artifact.inputs, artifact.outputs), tmp_path / "out"
    )
    inputs = _inputs(result.inputs)
    expected = _expected(models("flattened", "saved"), inputs)
    for value, truth in zip(_run(result, inputs), expected, strict=True):
        np.testing.assert_allclose(value, truth, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["saved", "frozen", "tflite"])
def test_a_free_batch_stays_free(models: Models, kind: str, tmp_path: Path) -> None:
    artifact = models("convolutions", kind, None)
    named = Artifact(
        artifact.path,
        artifact.state,
        tuple(TensorSpec(s.name, ("batch", *s.shape[1:]), s.dtype) for s in artifact.inputs),
        artifact.outputs,
    )
    result = _convert(named, tmp_path)
    assert [s.shape[0] for s in result.inputs] == ["batch"]
    assert [s.shape[0] for s in result.outputs] == [None, None]
    inputs = _inputs(result.inputs, batch=3)
    expected = _expected(models("convolutions", "saved", None), inputs)
    for value, truth in zip(_run(result, inputs), expected, strict=True):
        np.testing.assert_allclose(value, truth, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("opset", [11, 15, 18])
def test_the_opset_is_the_one_asked_for(models: Models, opset: int, tmp_path: Path) -> None:
    result = _convert(models("flattened", "tflite"), tmp_path, {"opset": opset})
    model = onnx.load(str(result.path))
    assert {e.domain: e.version for e in model.opset_import}[""] == opset
    assert result.traits["opset"] == opset
    inputs = _inputs(result.inputs)
    expected = _expected(models("flattened", "saved"), inputs)
    np.testing.assert_allclose(_run(result, inputs)[0], expected[0], rtol=1e-4, atol=1e-5)


def test_loops_and_branches_are_kept(tmp_path: Path) -> None:
    def function(x: Any) -> Any:
        for step in tf.range(4):
            x = tf.sin(x) if step % 2 == 0 else x * 0.5 + 1.0
        return tf.cond(tf.reduce_sum(x) > 0.0, lambda: x + 1.0, lambda: x * 2.0)

    artifact = _save(
        Module(tf.autograph.to_graph(function)),
        [TensorSpec("x", (1, 3), "float32")],
        tmp_path / "m-saved",
    )
    (tmp_path / "out").mkdir()
    result = _convert(artifact, tmp_path / "out")
    for sign in (1, -50):
        inputs = [np.full((1, 3), 0.3 * sign, np.float32)]
        np.testing.assert_allclose(
            _run(result, inputs)[0], _expected(artifact, inputs)[0], atol=1e-6
        )


def test_one_tensor_under_two_names_and_an_input_without_a_reader(tmp_path: Path) -> None:
    artifact = _save(
        Module(lambda x, unused: [y := tf.abs(x), y, x]),
        [TensorSpec("x", (1, 3), "float32"), TensorSpec("unused", (1, 2), "int64")],
        tmp_path / "m-saved",
    )
    (tmp_path / "out").mkdir()
    result = _convert(artifact, tmp_path / "out")
    assert [s.name for s in result.inputs] == ["x", "unused"]
    inputs = _inputs(result.inputs)
    for value, truth in zip(_run(result, inputs), _expected(artifact, inputs), strict=True):
        np.testing.assert_array_equal(value, truth)


def test_unknown_operators_are_foreseen_and_never_written(tmp_path: Path) -> None:
    artifact = _save(
        Module(lambda x: tf.math.digamma(x) + tf.math.digamma(tf.constant([[2.0]]))),
        [TensorSpec("x", (1, 3), "float32")],
        tmp_path / "m-saved",
    )
    (obstacle,) = FromSaved().check(artifact, OPSET)
    assert obstacle.what == "Digamma"
    assert len(obstacle.layers) == 1, "what depends on constants alone is folded"
    assert "Digamma" in obstacle.layers[0]
    assert obstacle.remedy
    with pytest.raises(ConversionError, match="Digamma"):
        _convert(artifact, tmp_path)
    assert not (tmp_path / "m.onnx").exists()


def test_lists_in_primitive_loops_are_foreseen(models: Models, tmp_path: Path) -> None:
    artifact = models("recurrent", "frozen")
    assert {o.what for o in FromFrozen().check(artifact, OPSET)} <= {
        "TensorListReserve",
        "TensorListSetItem",
    }
    assert FromFrozen().check(artifact, OPSET)
    with pytest.raises(ConversionError, match="TensorList"):
        _convert(artifact, tmp_path)


def test_a_model_that_remembers_is_refused(tmp_path: Path) -> None:
    class Counts(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.calls = tf.Variable(0.0)

        def __call__(self, x: Any, training: bool = False) -> Any:
            self.calls.assign_add(1.0)
            return x + self.calls

    artifact = _save(Counts(), [TensorSpec("x", (1, 2), "float32")], tmp_path / "m-saved")
    with pytest.raises(ConversionError, match="assigns variables"):
        _convert(artifact, tmp_path)


def test_tensors_that_share_a_name_stay_apart(models: Models, tmp_path: Path) -> None:
    """Names in a TFLite file need not be unique, and tf2onnx knows nothing else of a tensor."""
    from tensorflow.lite.tools.flatbuffer_utils import read_model, write_model

    artifact = models("flattened", "tflite")
    model = read_model(str(artifact.path))
    ports = {*model.subgraphs[0].inputs, *model.subgraphs[0].outputs}
    for index, tensor in enumerate(model.subgraphs[0].tensors):
        if index not in ports:
            tensor.name = b"same"
    (tmp_path / "out").mkdir()
    path = tmp_path / "m.tflite"
    write_model(model, str(path))
    result = _convert(
        Artifact(path, artifact.state, artifact.inputs, artifact.outputs), tmp_path / "out"
    )
    inputs = _inputs(result.inputs)
    expected = _expected(models("flattened", "saved"), inputs)
    for value, truth in zip(_run(result, inputs), expected, strict=True):
        np.testing.assert_allclose(value, truth, rtol=1e-4, atol=1e-5)


def test_the_same_call_gives_the_same_bytes(models: Models, tmp_path: Path) -> None:
    files = []
    for turn in ("one", "two"):
        (tmp_path / turn).mkdir()
        files.append(_convert(models("encoder", "saved"), tmp_path / turn).path.read_bytes())
    assert files[0] == files[1]


@pytest.mark.parametrize("kind", list(EDGES))
def test_damaged_files_are_input_errors(models: Models, kind: str, tmp_path: Path) -> None:
    good = models("flattened", kind)
    bad = tmp_path / "bad"
    if good.path.is_dir():
        bad.mkdir()
        (bad / "saved_model.pb").write_bytes(b"\x08\x01\x12\x05nope")
    else:
        bad.write_bytes(good.path.read_bytes()[:300])
    artifact = Artifact(bad, good.state, good.inputs, good.outputs)
    context = HopContext(tmp_path, lambda phase, fraction: None)
    with pytest.raises((InputError, ConversionError), match="bad"):
        EDGES[kind].convert(artifact, tmp_path / "m.onnx", OPSET, context)
    assert not (tmp_path / "m.onnx").exists()
