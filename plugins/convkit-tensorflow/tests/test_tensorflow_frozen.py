"""The ways out of frozen graphs, and what is seen inside of both formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from convkit.errors import ConversionError, InputError
from convkit.plugin import (
    Artifact,
    CalibrationData,
    HopContext,
    Inspector,
    ReadOptions,
    Runner,
    State,
    TensorSpec,
    Tracer,
    sample_key,
)
from convkit_tensorflow import inspect_saved
from convkit_tensorflow.freeze import Freeze
from convkit_tensorflow.graph import MESSAGE_BYTES
from convkit_tensorflow.inspect_frozen import FrozenInspector
from convkit_tensorflow.inspect_saved import SavedModelInspector
from convkit_tensorflow.plugin import convkit_converters
from convkit_tensorflow.run_frozen import FrozenRunner
from convkit_tensorflow.run_saved import SavedModelRunner
from convkit_tensorflow.tflite_float import Float32
from convkit_tensorflow.tflite_frozen import FrozenFloat32, FrozenStaticInt8
from convkit_tensorflow.unfreeze import Unfreeze

tf = pytest.importorskip("tensorflow")
litert = pytest.importorskip("ai_edge_litert.interpreter")


def _context(folder: Path, calibration: CalibrationData | None = None) -> HopContext:
    work = folder / "work"
    work.mkdir(exist_ok=True)
    return HopContext(work, lambda phase, fraction: None, calibration=calibration, threads=1)


def _keras(folder: Path, build: Callable[[Any, Any], Any], shape: tuple[int, ...]) -> Artifact:
    """A Keras model under a traced signature, as it lies in the wild: weights are variables."""
    tf.keras.utils.set_random_seed(5)
    x = tf.keras.Input(shape[1:])
    model = tf.keras.Model(x, build(x, tf.keras.layers))
    function = tf.function(lambda x: {"y": model(x, training=False)}).get_concrete_function(
        tf.TensorSpec(shape, tf.float32, name="x")
    )
    tf.saved_model.save(model, str(folder), signatures=function)
    found = SavedModelInspector().inspect(folder, ReadOptions())
    return Artifact(folder, State("tf-saved"), found.inputs, found.outputs)


def _convolutions(folder: Path) -> Artifact:
    def build(x: Any, layers: Any) -> Any:
        y = layers.BatchNormalization()(layers.Conv2D(8, 3, activation="swish")(x))
        return layers.Dense(5)(layers.Flatten()(layers.DepthwiseConv2D(3)(y)))

    return _keras(folder, build, (1, 12, 12, 3))


def _recurrent(folder: Path) -> Artifact:
    return _keras(folder, lambda x, layers: layers.Dense(3)(layers.LSTM(8)(x) * 2.0), (1, 6, 5))


def _branches(folder: Path) -> Artifact:
    class Branches(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec((1, 3), tf.float32)])
        def __call__(self, x: Any) -> dict[str, Any]:
            for step in tf.range(4):
                x = tf.sin(x) if step % 2 == 0 else x * 0.5 + 1.0
            small = tf.reduce_sum(x) < 0.0
            return {"y": tf.cond(small, lambda: tf.cos(x), lambda: tf.exp(x) * 2.0)}

    module = Branches()
    tf.saved_model.save(module, str(folder), signatures=module.__call__)
    return Artifact(
        folder,
        State("tf-saved"),
        (TensorSpec("x", (1, 3), "float32"),),
        (TensorSpec("y", (1, 3), "float32"),),
    )


BUILDERS = (_convolutions, _recurrent, _branches)


class Models:
    """Each SavedModel and its frozen graph, made once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[str, tuple[Artifact, Artifact]] = {}

    def __call__(self, build: Callable[[Path], Artifact]) -> tuple[Artifact, Artifact]:
        name = build.__name__
        if name not in self._made:
            saved = build(self._folder / f"{name}-saved")
            path = self._folder / f"{name}.pb"
            self._made[name] = saved, Freeze().convert(saved, path, {}, _context(self._folder))
        return self._made[name]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return Models(tmp_path_factory.mktemp("models"))


def _input(artifact: Artifact, seed: int = 1) -> Any:
    (spec,) = artifact.inputs
    shape = tuple(d if isinstance(d, int) else 1 for d in spec.shape)
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _run_tflite(artifact: Artifact, x: Any) -> Any:
    runner = litert.Interpreter(model_path=str(artifact.path)).get_signature_runner()
    return runner(**{artifact.inputs[0].name: x})[artifact.outputs[0].name]


@pytest.mark.parametrize("build", BUILDERS)
def test_a_frozen_graph_goes_back_and_to_tflite(
    models: Models, build: Callable[[Path], Artifact], tmp_path: Path
) -> None:
    saved, frozen = models(build)
    back = Unfreeze().convert(frozen, tmp_path / "back-saved", {}, _context(tmp_path))
    lite = FrozenFloat32().convert(frozen, tmp_path / "m.tflite", {}, _context(tmp_path))
    direct = Float32().convert(saved, tmp_path / "direct.tflite", {}, _context(tmp_path))
    assert (lite.state, back.state) == (State("tflite"), State("tf-saved"))
    for seed in (1, 2):
        x = _input(saved, seed)
        (expected,) = SavedModelRunner().open(saved, 1).run([x])
        assert np.isfinite(expected).all()
        assert expected.std() > 1e-3
        (value,) = SavedModelRunner().open(back, 1).run([x])
        np.testing.assert_allclose(value, expected, atol=1e-6)
        for file in (lite, direct):
            np.testing.assert_allclose(_run_tflite(file, x), expected, rtol=1e-4, atol=1e-5)


def test_going_back_keeps_order_and_every_name_that_an_argument_can_have(tmp_path: Path) -> None:
    graph = tf.Graph()
    with graph.as_default():
        a = tf.compat.v1.placeholder(tf.float32, (None, 4), name="scope/in.put-1")
        b = tf.compat.v1.placeholder(tf.int64, (2,), name="Beta")
        # Both names would become the same argument, and a node already bears that name.
        c = tf.compat.v1.placeholder(tf.float32, (1, 4), name="scope/in_put-1")
        tf.identity(a - c, name="scope_in_put_1")
        tf.gather(tf.split(a, 2, 1, name="halves")[1], b, name="7z")
    path = tmp_path / "m.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    source = Artifact(
        path,
        State("tf-frozen"),
        (
            TensorSpec("scope/in_put-1", (1, 4), "float32"),
            TensorSpec("scope/in.put-1", ("batch", 4), "float32"),
            TensorSpec("Beta", (2,), "int64"),
        ),
        (
            TensorSpec("scope_in_put_1", ("batch", 4), "float32"),
            TensorSpec("7z", (2, 2), "float32"),
        ),
    )
    back = Unfreeze().convert(source, tmp_path / "m-saved", {}, _context(tmp_path))
    assert [s.name for s in back.inputs] == ["scope_in_put_1", "scope_in_put_1_1", "Beta"]
    assert [s.shape for s in back.inputs] == [(1, 4), ("batch", 4), (2,)]
    assert [s.name for s in back.outputs] == ["scope_in_put_1", "7z"]
    found = SavedModelInspector().inspect(back.path, ReadOptions())
    assert {s.name for s in found.inputs} == {s.name for s in back.inputs}
    assert {s.name for s in found.outputs} == {s.name for s in back.outputs}
    a_value = np.arange(12, dtype=np.float32).reshape(3, 4)
    c_value = np.full((1, 4), 7, np.float32)
    rows = np.array([2, 0])
    difference, gathered = SavedModelRunner().open(back, 1).run([c_value, a_value, rows])
    np.testing.assert_array_equal(difference, a_value - c_value)
    np.testing.assert_array_equal(gathered, a_value[rows, 2:])


def test_static_int8_refuses_loops_in_either_spelling(models: Models, tmp_path: Path) -> None:
    """TensorFlow's calibrator would end the process."""
    _, frozen = models(_recurrent)
    save_file({sample_key(0, 0): _input(frozen)}, tmp_path / "set.safetensors")
    data = CalibrationData(tmp_path / "set.safetensors", 1, "", "")
    with pytest.raises(ConversionError, match="WHILE"):
        FrozenStaticInt8().convert(frozen, tmp_path / "m.tflite", {}, _context(tmp_path, data))


def test_errors_name_the_frozen_file(tmp_path: Path) -> None:
    class Erf(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec((1, 4), tf.float32)])
        def __call__(self, x: Any) -> dict[str, Any]:
            return {"y": tf.math.erf(x)}

    module = Erf()
    tf.saved_model.save(module, str(tmp_path / "m-saved"), signatures=module.__call__)
    spec = (TensorSpec("x", (1, 4), "float32"),)
    out = (TensorSpec("y", (1, 4), "float32"),)
    saved = Artifact(tmp_path / "m-saved", State("tf-saved"), spec, out)
    frozen = Freeze().convert(saved, tmp_path / "special.pb", {}, _context(tmp_path))
    with pytest.raises(ConversionError, match=r"Erf in special\.pb"):
        FrozenFloat32().convert(frozen, tmp_path / "m.tflite", {}, _context(tmp_path))


def test_a_damaged_frozen_graph_is_an_input_error(models: Models, tmp_path: Path) -> None:
    _, frozen = models(_convolutions)
    path = tmp_path / "bad.pb"
    path.write_bytes(frozen.path.read_bytes()[:200])
    bad = Artifact(path, frozen.state, frozen.inputs, frozen.outputs)
    for edge in (Unfreeze(), FrozenFloat32()):
        with pytest.raises(InputError, match=r"bad\.pb"):
            edge.convert(bad, tmp_path / "out", {}, _context(tmp_path))


@pytest.mark.parametrize("build", BUILDERS)
@pytest.mark.parametrize(
    ("place", "runner", "inspector"),
    [(0, SavedModelRunner(), SavedModelInspector()), (1, FrozenRunner(), FrozenInspector())],
)
def test_the_inside_is_shown(
    models: Models,
    build: Callable[[Path], Artifact],
    place: int,
    runner: Runner,
    inspector: Inspector,
) -> None:
    artifact = models(build)[place]
    assert isinstance(runner, Tracer)
    x = _input(artifact)
    (expected,) = runner.open(artifact, 1).run([x])
    shown = list(runner.trace(artifact, [x], 1))
    layers = {layer.name: layer for layer in inspector.inspect(artifact.path, ReadOptions()).layers}
    known = {artifact.inputs[0].name}
    for tensor in shown:
        layer = layers[tensor.layer]
        assert (layer.op_type, layer.scope) == (tensor.op_type, tensor.scope)
        assert tensor.tensor in layer.outputs
        floats = {t.tensor for t in shown}
        assert {name for name in layer.inputs if name in floats} <= known, "out of order"
        known.add(tensor.tensor)
        assert tensor.value.dtype == np.float32
    assert any(
        t.value.shape == expected.shape and np.allclose(t.value, expected, atol=1e-6) for t in shown
    )


def test_the_values_shown_are_those_of_the_layers(models: Models) -> None:
    saved, _ = models(_convolutions)
    x = _input(saved)
    shown = {t.op_type: t for t in SavedModelRunner().trace(saved, [x], 1)}
    loaded = tf.saved_model.load(str(saved.path))
    variables = loaded.signatures["serving_default"].variables
    kernel = next(v for v in variables if v.shape == (3, 3, 3, 8))
    expected = tf.nn.conv2d(x, kernel, 1, "VALID").numpy()
    np.testing.assert_allclose(shown["Conv2D"].value, expected, atol=1e-5)
    assert {"Conv2D", "BiasAdd", "Sigmoid", "DepthwiseConv2dNative", "MatMul"} <= set(shown)


def test_only_results_that_exist_are_shown(models: Models) -> None:
    """Inside of a loop or a branch, TensorFlow 1 has values for each round, or none."""
    for artifact, runner in zip(
        models(_branches), (SavedModelRunner(), FrozenRunner()), strict=True
    ):
        types = {t.op_type for t in runner.trace(artifact, [_input(artifact)], 1)}
        assert not types & {"Sin", "Cos", "Exp", "Enter", "Switch"}
        assert types & {"Exit", "While", "StatelessWhile"}
        assert types & {"Merge", "If", "StatelessIf"}


def test_a_model_that_assigns_is_inspected_and_not_traced(tmp_path: Path) -> None:
    class Counts(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.calls = tf.Variable(tf.zeros((25,)))

        @tf.function(input_signature=[tf.TensorSpec((25,), tf.float32)])
        def __call__(self, x: Any) -> dict[str, Any]:
            return {"y": x + self.calls.assign_add(x)}

    module = Counts()
    tf.saved_model.save(module, str(tmp_path / "m-saved"), signatures=module.__call__)
    found = SavedModelInspector().inspect(tmp_path / "m-saved", ReadOptions())
    assert found.parameter_bytes["float32"] == 100
    artifact = Artifact(tmp_path / "m-saved", found.state, found.inputs, found.outputs)
    with pytest.raises(ConversionError, match="assigns variables"):
        list(SavedModelRunner().trace(artifact, [np.zeros(25, np.float32)], 1))


def test_large_models_are_inspected_without_flattening(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, _ = models(_convolutions)
    whole = SavedModelInspector().inspect(saved.path, ReadOptions())
    monkeypatch.setattr(inspect_saved, "FLATTENED_BYTES", 100)
    light = SavedModelInspector().inspect(saved.path, ReadOptions())
    assert (light.digest, light.layers) == ("", ())
    assert light.inputs == whole.inputs
    assert light.parameter_bytes["float32"] == pytest.approx(
        whole.parameter_bytes["float32"], rel=0.01
    )


def test_edges_that_make_constants_say_what_they_can_hold() -> None:
    for converter in convkit_converters():
        (limit,) = converter.requires
        assert (limit.trait, limit.maximum) == ("parameter_bytes", MESSAGE_BYTES)


def test_tensorflow_cannot_make_a_larger_constant() -> None:
    """The limit is that of one protobuf message; nothing of that size is filled here."""
    from tensorflow.python.framework import tensor_util

    large = np.broadcast_to(np.float32(0), (MESSAGE_BYTES // 4 + 1,))
    with pytest.raises(ValueError, match="2GB"):
        tensor_util.make_tensor_proto(large)
