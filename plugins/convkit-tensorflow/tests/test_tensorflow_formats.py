"""SavedModels and frozen graphs: detection, inspection, freezing, running, and refusal."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convkit
from convkit.errors import ConversionError, InputError, UnsafeError
from convkit.plugin import Artifact, HopContext, ReadOptions, State, TensorSpec
from convkit_tensorflow import detect
from convkit_tensorflow.freeze import Freeze
from convkit_tensorflow.inspect_frozen import FrozenInspector
from convkit_tensorflow.inspect_saved import SavedModelInspector
from convkit_tensorflow.plugin import convkit_detect_format
from convkit_tensorflow.run_frozen import FrozenRunner
from convkit_tensorflow.run_saved import SavedModelRunner

tf = pytest.importorskip("tensorflow")

RNG = np.random.default_rng(5)
ROWS = RNG.standard_normal((50, 4)).astype(np.float32)
ZETA = RNG.standard_normal((1, 4)).astype(np.float32)
ALPHA = RNG.integers(0, 50, (1, 7))


def _two(folder: Path) -> Artifact:
    """Two inputs and outputs whose order is not that of their names; one input is int64."""

    class Two(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rows = tf.Variable(ROWS)

        @tf.function
        def __call__(self, zeta: Any, alpha: Any) -> dict[str, Any]:
            mean = tf.reduce_mean(tf.gather(self.rows, alpha), axis=1)
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


def _loop(folder: Path) -> None:
    """A loop with a branch in it, over a dynamic batch."""

    class Loop(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 3), tf.float32)])
        def __call__(self, x: Any) -> dict[str, Any]:
            for step in tf.range(4):
                x = tf.sin(x) if step % 2 == 0 else x * 0.5 + 1.0
            return {"y": x}

    module = Loop()
    tf.saved_model.save(module, str(folder), signatures=module.__call__)


def _python(folder: Path) -> None:
    """A model that would call back into Python."""

    class Python(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((2,), tf.float32)])
        def __call__(self, x: Any) -> dict[str, Any]:
            return {"y": tf.ensure_shape(tf.numpy_function(np.sin, [x], tf.float32), (2,))}

    module = Python()
    tf.saved_model.save(module, str(folder), signatures=module.__call__)


def _counts(folder: Path) -> None:
    """A model that remembers how often it was called."""

    class Counts(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls = tf.Variable(0.0)

        @tf.function(input_signature=[tf.TensorSpec((2,), tf.float32)])
        def __call__(self, x: Any) -> dict[str, Any]:
            self.calls.assign_add(1.0)
            return {"y": x + self.calls}

    module = Counts()
    tf.saved_model.save(module, str(folder), signatures=module.__call__)


def _grows(folder: Path) -> None:
    """A variable whose size is open, as onnx-tf keeps the boxes that it has chosen."""

    class Grows(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = tf.Variable([2.0, 3.0])
            self.kept = tf.Variable(tf.zeros((0,)), shape=tf.TensorShape(None))

        @tf.function(input_signature=[tf.TensorSpec((2,), tf.float32)])
        def __call__(self, x: Any) -> dict[str, Any]:
            self.kept.assign(x)
            return {"y": self.kept.read_value() * self.weight}

    tf.saved_model.save(Grows(), str(folder))


def _reads_a_file(folder: Path) -> None:
    class Reads(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((), tf.string)])
        def __call__(self, name: Any) -> dict[str, Any]:
            return {"content": tf.io.read_file(name)}

    module = Reads()
    tf.saved_model.save(module, str(folder), signatures=module.__call__)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return _two(tmp_path_factory.mktemp("two") / "two-saved")


@pytest.fixture(scope="module")
def frozen(two: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("frozen")
    before = _bytes(two.path)
    result = Freeze().convert(two, folder / "two.pb", {}, _context(folder))
    assert _bytes(two.path) == before
    return result


def _context(folder: Path) -> HopContext:
    return HopContext(folder, lambda phase, fraction: None, threads=1)


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def _expected() -> tuple[Any, Any]:
    mean = ROWS[ALPHA].mean(axis=1)
    return mean + ZETA, mean - ZETA


def test_saved_model_is_inspected_in_the_order_of_names(two: Artifact) -> None:
    found = SavedModelInspector().inspect(two.path, ReadOptions())
    assert found.state == State("tf-saved")
    assert found.inputs == (
        TensorSpec("alpha", (1, 7), "int64"),
        TensorSpec("zeta", (1, 4), "float32"),
    )
    assert [s.name for s in found.outputs] == ["difference", "sum"]
    assert found.operators["Mean"] == 1
    assert found.parameter_bytes["float32"] == ROWS.nbytes
    assert found.producer == f"tensorflow {tf.__version__}"
    assert found.traits["dynamic"] is False
    gather = next(layer for layer in found.layers if layer.op_type.startswith("Gather"))
    assert gather.inputs == ("alpha",)
    assert gather.parameter_count >= ROWS.size


def test_freezing_keeps_order_and_names(frozen: Artifact) -> None:
    assert [s.name for s in frozen.inputs] == ["zeta", "alpha"]
    assert [s.name for s in frozen.outputs] == ["sum", "difference"]
    found = FrozenInspector().inspect(frozen.path, ReadOptions())
    assert found.state == State("tf-frozen")
    assert found.inputs == frozen.inputs
    assert found.outputs == frozen.outputs


def test_runners_agree_with_numpy(two: Artifact, frozen: Artifact) -> None:
    saved = SavedModelRunner().open(two, threads=1).run([ZETA, ALPHA])
    flat = FrozenRunner().open(frozen, threads=1).run([ZETA, ALPHA])
    for value, other, expected in zip(saved, flat, _expected(), strict=True):
        np.testing.assert_allclose(value, expected, atol=1e-6)
        np.testing.assert_allclose(other, expected, atol=1e-6)


def test_runner_follows_the_order_of_the_artifact(two: Artifact) -> None:
    turned = Artifact(two.path, two.state, two.inputs[::-1], two.outputs[::-1])
    values = SavedModelRunner().open(turned, threads=1).run([ALPHA, ZETA])
    for value, expected in zip(values, _expected()[::-1], strict=True):
        np.testing.assert_allclose(value, expected, atol=1e-6)


def test_runner_refuses_names_that_are_not_there(two: Artifact) -> None:
    wrong = Artifact(two.path, two.state, (TensorSpec("beta", (1, 4), "float32"),), two.outputs)
    with pytest.raises(ConversionError, match="beta"):
        SavedModelRunner().open(wrong, threads=1)


def test_equal_programs_have_equal_digests(two: Artifact, frozen: Artifact, tmp_path: Path) -> None:
    inspector = SavedModelInspector()
    digest = inspector.inspect(two.path, ReadOptions()).digest
    again = _two(tmp_path / "again-saved")
    assert (again.path / "saved_model.pb").read_bytes() != (
        two.path / "saved_model.pb"
    ).read_bytes(), "the files are equal by luck: this test shows nothing"
    assert inspector.inspect(again.path, ReadOptions()).digest == digest
    assert FrozenInspector().inspect(frozen.path, ReadOptions()).digest == digest


def test_another_weight_gives_another_digest(two: Artifact, tmp_path: Path) -> None:
    digest = SavedModelInspector().inspect(two.path, ReadOptions()).digest
    ROWS[3, 2] += 1
    try:
        other = _two(tmp_path / "other-saved")
    finally:
        ROWS[3, 2] -= 1
    assert SavedModelInspector().inspect(other.path, ReadOptions()).digest != digest


def test_loops_and_dynamic_batches(tmp_path: Path) -> None:
    _loop(tmp_path / "loop-saved")
    found = SavedModelInspector().inspect(tmp_path / "loop-saved", ReadOptions())
    assert found.inputs[0].shape == (None, 3)
    assert found.traits["dynamic"] is True
    source = TensorSpec("x", ("batch", 3), "float32")
    artifact = Artifact(tmp_path / "loop-saved", found.state, (source,), found.outputs)
    result = Freeze().convert(artifact, tmp_path / "loop.pb", {}, _context(tmp_path))
    assert result.inputs[0].shape == ("batch", 3)
    flat = FrozenInspector().inspect(result.path, ReadOptions())
    assert flat.digest == FrozenInspector().inspect(result.path, ReadOptions()).digest != ""
    x = np.linspace(-2, 2, 15, dtype=np.float32).reshape(5, 3)
    expected = np.sin(np.sin(x) * 0.5 + 1) * 0.5 + 1
    for runner, model in ((SavedModelRunner(), artifact), (FrozenRunner(), result)):
        (value,) = runner.open(model, threads=1).run([x])
        np.testing.assert_allclose(value, expected, atol=1e-6)


@pytest.mark.parametrize(("build", "operator"), [(_python, "PyFunc"), (_reads_a_file, "ReadFile")])
def test_operators_that_reach_outside_are_refused(
    tmp_path: Path, build: Any, operator: str
) -> None:
    build(tmp_path / "m-saved")
    with pytest.raises(UnsafeError, match=operator) as caught:
        SavedModelInspector().inspect(tmp_path / "m-saved", ReadOptions())
    assert "--trust" in caught.value.hint
    found = SavedModelInspector().inspect(tmp_path / "m-saved", ReadOptions(trust=True))
    assert any(operator in name for name in found.operators)


def test_a_model_with_a_memory_runs_but_cannot_be_frozen(tmp_path: Path) -> None:
    _counts(tmp_path / "m-saved")
    found = SavedModelInspector().inspect(tmp_path / "m-saved", ReadOptions())
    assert found.digest == ""
    artifact = Artifact(tmp_path / "m-saved", found.state, found.inputs, found.outputs)
    session = SavedModelRunner().open(artifact, threads=1)
    zeros = np.zeros(2, np.float32)
    assert [float(session.run([zeros])[0][0]) for _ in range(2)] == [1.0, 2.0]
    with pytest.raises(ConversionError, match="assigns variables"):
        Freeze().convert(artifact, tmp_path / "m.pb", {}, _context(tmp_path))


def test_a_variable_of_open_size_is_no_weight(tmp_path: Path) -> None:
    _grows(tmp_path / "grows")
    found = SavedModelInspector().inspect(tmp_path / "grows", ReadOptions())
    assert found.parameter_bytes["float32"] == 8


def test_frozen_file_access_is_refused(tmp_path: Path) -> None:
    graph = tf.Graph()
    with graph.as_default():
        tf.identity(tf.io.read_file(tf.constant("secret")), name="content")
    (tmp_path / "m.pb").write_bytes(graph.as_graph_def().SerializeToString())
    with pytest.raises(UnsafeError, match="ReadFile"):
        FrozenInspector().inspect(tmp_path / "m.pb", ReadOptions())


def test_a_saved_model_without_signature_is_refused(tmp_path: Path) -> None:
    tf.saved_model.save(tf.Module(), str(tmp_path / "m-saved"))
    with pytest.raises(InputError, match="no signature"):
        SavedModelInspector().inspect(tmp_path / "m-saved", ReadOptions())


def test_variables_are_not_frozen(tmp_path: Path) -> None:
    graph = tf.Graph()
    with graph.as_default():
        x = tf.compat.v1.placeholder(tf.float32, (2,), "x")
        tf.identity(tf.compat.v1.get_variable("v", (2,), use_resource=True) + x, name="y")
    (tmp_path / "m.pb").write_bytes(graph.as_graph_def().SerializeToString())
    with pytest.raises(InputError, match="not frozen"):
        FrozenInspector().inspect(tmp_path / "m.pb", ReadOptions())


@pytest.mark.parametrize("damage", ["cut", "noise", "empty", "gone", "weights cut", "no weights"])
def test_damaged_saved_models(two: Artifact, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "m-saved"
    shutil.copytree(two.path, folder)
    graph = folder / "saved_model.pb"
    weights = next((folder / "variables").glob("*.data-*"))
    content = graph.read_bytes()
    match damage:
        case "cut":
            graph.write_bytes(content[: len(content) // 2])
        case "noise":
            graph.write_bytes(bytes(np.random.default_rng(1).bytes(len(content))))
        case "empty":
            graph.write_bytes(b"")
        case "gone":
            graph.unlink()
        case "weights cut":
            weights.write_bytes(weights.read_bytes()[:100])
        case "no weights":
            shutil.rmtree(folder / "variables")
    with pytest.raises(InputError) as caught:
        SavedModelInspector().inspect(folder, ReadOptions())
    assert "m-saved" in caught.value.message
    assert "Traceback" not in caught.value.message


def test_flipped_weights_are_noticed(two: Artifact, tmp_path: Path) -> None:
    folder = tmp_path / "m-saved"
    shutil.copytree(two.path, folder)
    weights = next((folder / "variables").glob("*.data-*"))
    content = bytearray(weights.read_bytes())
    content[50] ^= 0x40
    weights.write_bytes(content)
    with pytest.raises(InputError):
        SavedModelInspector().inspect(folder, ReadOptions())


@pytest.mark.parametrize("damage", ["cut", "noise", "empty"])
def test_damaged_frozen_graphs(frozen: Artifact, tmp_path: Path, damage: str) -> None:
    content = frozen.path.read_bytes()
    path = tmp_path / "m.pb"
    path.write_bytes(
        {
            "cut": content[: len(content) // 2],
            "noise": np.random.default_rng(1).bytes(len(content)),
            "empty": b"",
        }[damage]
    )
    with pytest.raises(InputError, match=r"m\.pb"):
        FrozenInspector().inspect(path, ReadOptions())


def test_formats_are_told_apart(two: Artifact, frozen: Artifact, tmp_path: Path) -> None:
    inside = two.path / "saved_model.pb"
    assert _detected(two.path) == ("tf-saved", 1.0)
    assert _detected(frozen.path) == ("tf-frozen", 1.0)
    assert _detected(inside) is None
    renamed = tmp_path / "model.pb"
    shutil.copy(inside, renamed)
    assert _detected(renamed) is None
    renamed.write_bytes(b"\x08\x07\x12\x04onnx")
    assert _detected(renamed) == ("tf-frozen", 0.5)
    assert _detected(tmp_path) is None
    other = tmp_path / "frozen.bin"
    shutil.copy(frozen.path, other)
    assert _detected(other) == ("tf-frozen", 1.0)


def _detected(path: Path) -> tuple[str, float] | None:
    head = b"" if path.is_dir() else path.read_bytes()[:4096]
    found = convkit_detect_format(path, head)
    return None if found is None else (found.format, found.confidence)


def test_detection_survives_any_bytes() -> None:
    rng = np.random.default_rng(2)
    for size in (0, 1, 2, 7, 100, 4096):
        for _ in range(50):
            head = rng.bytes(size)
            assert detect.is_saved_model(head) in (True, False)
            assert detect.is_graph_def(head) in (True, False)


def test_importing_the_plugin_loads_no_framework() -> None:
    path = [str(Path(m.__file__ or "").parents[1]) for m in (convkit, detect)]
    code = (
        f"import sys; sys.path[:0] = {path!r}; import convkit_tensorflow.plugin as p; "
        "p.convkit_converters(); p.convkit_runners(); p.convkit_inspectors(); "
        "print([m for m in ('tensorflow', 'numpy', 'flatbuffers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
