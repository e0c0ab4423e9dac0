"""onnx-tf.saved on real small models, run by the interpreter of its isolated environment."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import convkit
import convkit_onnx_tf
from convkit.codec import decode, encode
from convkit.plugin import Artifact, State, TensorSpec
from convkit_onnx_tf.names import safe_names
from convkit_onnx_tf.plugin import convkit_converters

# Converts, then runs what it wrote: one start of TensorFlow serves both.
_DRIVER = """
import json, sys
from pathlib import Path
request = json.load(sys.stdin)
sys.path[:0] = request["path"]
from convkit.codec import decode, encode
from convkit.errors import ConvkitError
from convkit.plugin import Artifact, HopContext
from convkit_onnx_tf.plugin import convkit_converters

(converter,) = convkit_converters()
answers = []
for job in request["jobs"]:
    artifact, output = decode(Artifact, job["artifact"]), Path(job["output"])
    workdir = output.parent / "workdir"
    workdir.mkdir(exist_ok=True)
    phases = []
    if job["check"]:
        found = converter.check(artifact, job["options"])
        answers.append({"obstacles": encode(tuple(found))})
        continue
    context = HopContext(workdir, lambda phase, fraction: phases.append(phase), threads=1)
    try:
        result = converter.convert(artifact, output, job["options"], context)
    except ConvkitError as error:
        answers.append({"error": type(error).__name__, "message": error.message,
                        "cause": type(error.__cause__).__name__, "hint": error.hint})
        continue
    answers.append({"artifact": encode(result), "phases": phases})
    if job["inputs"]:
        import numpy as np
        import tensorflow as tf
        given = np.load(job["inputs"])
        signature = tf.saved_model.load(str(output)).signatures["serving_default"]
        answers[-1]["variables"] = len(signature.variables)
        values = signature(**{
            spec.name: tf.constant(given[str(i)]) for i, spec in enumerate(result.inputs)})
        np.savez(job["results"], **{
            str(i): values[spec.name].numpy() for i, spec in enumerate(result.outputs)})
print("ANSWER" + json.dumps(answers))
"""

Value = onnx.ValueInfoProto


def _value(name: str, shape: Sequence[int | str], kind: int = TensorProto.FLOAT) -> Value:
    return helper.make_tensor_value_info(name, kind, shape)


def _save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    constants: Mapping[str, Any] | None = None,
    opset: int = 12,
) -> Artifact:
    initializers = [numpy_helper.from_array(v, k) for k, v in (constants or {}).items()]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)
    onnx.save(model, path)
    return Artifact(path, State("onnx"), _specs(inputs), _specs(outputs), traits={"opset": opset})


def _specs(values: Sequence[Value]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            v.name,
            tuple(d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim),
            np.dtype(helper.tensor_dtype_to_np_dtype(v.type.tensor_type.elem_type)).name,
        )
        for v in values
    )


def _random(*shape: int, seed: int = 7) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _cnn(path: Path) -> Artifact:
    node = helper.make_node
    return _save(
        path,
        [
            node("Conv", ["image", "w1", "b1"], ["c1"], strides=[2, 2], pads=[1, 1, 1, 1]),
            node("Sigmoid", ["c1"], ["s1"]),
            node("Mul", ["c1", "s1"], ["a1"]),
            node("Conv", ["a1", "w2"], ["c2"], group=2, pads=[1, 1, 1, 1]),
            node("MaxPool", ["c2"], ["p2"], kernel_shape=[2, 2], strides=[2, 2]),
            node(
                "Resize",
                ["p2", "roi", "scales"],
                ["r"],
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            ),
            node("GlobalAveragePool", ["r"], ["g"]),
            node("Flatten", ["g"], ["f"]),
            node("Gemm", ["f", "w3"], ["logits"], transB=1),
            node("Softmax", ["logits"], ["probabilities"], axis=1),
        ],
        [_value("image", [1, 3, 16, 16])],
        [_value("probabilities", [1, 5])],
        {
            "w1": _random(8, 3, 3, 3),
            "b1": _random(8),
            "w2": _random(8, 4, 3, 3),
            "w3": _random(5, 8),
            "roi": np.array([], np.float32),
            "scales": np.array([1, 1, 2, 2], np.float32),
        },
    )


def _averages(path: Path) -> Artifact:
    """Padded in ways that TensorFlow has no word for."""
    node = helper.make_node
    return _save(
        path,
        [
            node("AveragePool", ["x"], ["a"], kernel_shape=[3, 3], pads=[0, 0, 1, 2]),
            node(
                "AveragePool",
                ["x"],
                ["b"],
                kernel_shape=[2, 3],
                strides=[2, 1],
                pads=[1, 2, 0, 1],
                count_include_pad=1,
            ),
        ],
        [_value("x", [1, 2, 7, 6])],
        [_value("a", [1, 2, 6, 6]), _value("b", [1, 2, 4, 7])],
    )


def _two(path: Path) -> Artifact:
    """Two inputs and outputs whose names sort against their order; one input is int64."""
    node = helper.make_node
    return _save(
        path,
        [
            node("Gather", ["table", "alpha"], ["rows"]),
            node("ReduceMean", ["rows"], ["mean"], axes=[1], keepdims=0),
            node("Add", ["mean", "zeta"], ["sum"]),
            node("Sub", ["mean", "zeta"], ["difference"]),
        ],
        [_value("zeta", [1, 4]), _value("alpha", [1, 7], TensorProto.INT64)],
        [_value("sum", [1, 4]), _value("difference", [1, 4])],
        {"table": _random(50, 4)},
    )


def _odd_names(path: Path) -> Artifact:
    """Names that TensorFlow cannot bear, and an output that is an input."""
    node = helper.make_node
    return _save(
        path,
        [
            node("PRelu", ["input.1", "slope"], ["bent"], name="act:0;act/bias"),
            node("PRelu", ["self", "slope"], ["bent.1"], name="act:0_act/bias"),
            node("Add", ["bent", "bent.1"], ["/head/out:0"]),
            node("Sub", ["input.1", "self"], ["495"]),
        ],
        [_value("input.1", [2, 3]), _value("self", [2, 3])],
        [_value("/head/out:0", [2, 3]), _value("495", [2, 3]), _value("self", [2, 3])],
        {"slope": _random(3)},
    )


def _dynamic(path: Path) -> Artifact:
    return _save(
        path,
        [helper.make_node("MatMul", ["rows", "w"], ["product"])],
        [_value("rows", ["batch", 3])],
        [_value("product", ["batch", 2])],
        {"w": _random(3, 2)},
    )


def _lstm(path: Path) -> Artifact:
    node = helper.make_node
    return _save(
        path,
        [
            node("LSTM", ["sequence", "W", "R", "B"], ["y", "h"], hidden_size=6),
            node("Squeeze", ["h"], ["state"], axes=[0]),
        ],
        [_value("sequence", [5, 1, 3])],
        [_value("state", [1, 6])],
        {"W": _random(1, 24, 3), "R": _random(1, 24, 6), "B": _random(1, 48)},
    )


def _lstms(path: Path) -> Artifact:
    """Two LSTMs of the same size, the second of which goes both ways, after another model's."""
    node = helper.make_node
    return _save(
        path,
        [
            node("LSTM", ["sequence", "W", "R", "B"], ["y"], hidden_size=6),
            node("Squeeze", ["y"], ["flat"], axes=[1]),
            node(
                "LSTM",
                ["flat", "W2", "R2", "B2"],
                ["z", "h"],
                hidden_size=6,
                direction="bidirectional",
            ),
        ],
        [_value("sequence", [5, 1, 6])],
        [_value("h", [2, 1, 6])],
        {
            "W": _random(1, 24, 6),
            "R": _random(1, 24, 6, seed=1),
            "B": _random(1, 48),
            "W2": _random(2, 24, 6, seed=2),
            "R2": _random(2, 24, 6, seed=3),
            "B2": _random(2, 48, seed=4),
        },
    )


def _rnns(path: Path) -> Artifact:
    """Two plain recurrent layers with different weights."""
    node = helper.make_node
    return _save(
        path,
        [
            node("RNN", ["sequence", "W", "R"], ["y"], hidden_size=4),
            node("Squeeze", ["y"], ["flat"], axes=[1]),
            node("RNN", ["flat", "W2", "R2"], ["z", "h"], hidden_size=4),
        ],
        [_value("sequence", [5, 1, 4])],
        [_value("h", [1, 1, 4])],
        {
            "W": _random(1, 4, 4),
            "R": _random(1, 4, 4, seed=1),
            "W2": _random(1, 4, 4, seed=2),
            "R2": _random(1, 4, 4, seed=3),
        },
    )


def _plain_gru(path: Path) -> Artifact:
    return _save(
        path,
        [helper.make_node("GRU", ["sequence", "W", "R", "B"], ["y", "h"], hidden_size=4)],
        [_value("sequence", [5, 1, 3])],
        [_value("h", [1, 1, 4])],
        {"W": _random(1, 12, 3), "R": _random(1, 12, 4, seed=1), "B": _random(1, 24, seed=2)},
    )


def _gru(path: Path) -> Artifact:
    """As torch makes it; and an unknown operator that a simplifier would fold away."""
    node = helper.make_node
    return _save(
        path,
        [
            node("Folded", ["W"], ["W2"]),
            node(
                "GRU",
                ["sequence", "W2", "R"],
                ["y", "h"],
                hidden_size=4,
                linear_before_reset=1,
                name="/rnn/GRU",
            ),
        ],
        [_value("sequence", [5, 1, 4])],
        [_value("h", [1, 1, 4])],
        {"W": _random(1, 12, 4), "R": _random(1, 12, 4, seed=1)},
    )


def _branches(path: Path) -> Artifact:
    """An unknown operator inside a branch, which reads what lies around it."""
    node = helper.make_node
    then = helper.make_graph([node("Mystery", ["x"], ["a"])], "then", [], [_value("a", [2])])
    other = helper.make_graph([node("Neg", ["x"], ["b"])], "else", [], [_value("b", [2])])
    return _save(
        path,
        [node("If", ["yes"], ["y"], name="choice", then_branch=then, else_branch=other)],
        [_value("x", [2]), _value("yes", [], TensorProto.BOOL)],
        [_value("y", [2])],
    )


def _too_new(path: Path) -> Artifact:
    return _save(
        path,
        [helper.make_node("Unsqueeze", ["x", "axes"], ["y"])],
        [_value("x", [2, 3])],
        [_value("y", [1, 2, 3])],
        {"axes": np.array([0])},
        opset=13,
    )


def _unknown(path: Path) -> Artifact:
    return _save(
        path,
        [helper.make_node("NonMaxMystery", ["x"], ["y"])],
        [_value("x", [2, 3])],
        [_value("y", [2, 3])],
    )


def _needs_cast(path: Path) -> Artifact:
    return _save(
        path,
        [helper.make_node("Equal", ["x", "y"], ["same"])],
        [_value("x", [2], TensorProto.UINT64), _value("y", [2], TensorProto.UINT64)],
        [_value("same", [2], TensorProto.BOOL)],
    )


def _truncated(path: Path) -> Artifact:
    artifact = _cnn(path)
    path.write_bytes(path.read_bytes()[:900])
    return artifact


def _empty(path: Path) -> Artifact:
    path.write_bytes(b"")
    return Artifact(path, State("onnx"))


def _misnamed(path: Path) -> Artifact:
    artifact = _dynamic(path)
    return Artifact(path, artifact.state, (TensorSpec("other", (1, 3), "float32"),))


_MODELS: dict[str, Callable[[Path], Artifact]] = {
    "cnn": _cnn,
    "averages": _averages,
    "two": _two,
    "odd_names": _odd_names,
    "dynamic": _dynamic,
    "lstm": _lstm,
    "lstms": _lstms,
    "rnns": _rnns,
    "plain_gru": _plain_gru,
    "too_new": _too_new,
    "unknown": _unknown,
    "needs_cast": _needs_cast,
    "truncated": _truncated,
    "empty": _empty,
    "misnamed": _misnamed,
}


_CHECKED: dict[str, Callable[[Path], Artifact]] = {
    "check-lstms": _lstms,
    "check-cnn": _cnn,
    "check-gru": _gru,
    "check-too_new": _too_new,
    "check-unknown": _unknown,
    "check-branches": _branches,
}

_GOOD = ["cnn", "averages", "two", "odd_names", "dynamic", "lstm", "lstms", "rnns", "plain_gru"]


@pytest.fixture(scope="module")
def answers(
    onnx_tf_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Mapping[str, Any]]:
    """Every model through the converter, in one process of the isolated environment."""
    import onnxruntime

    folder = tmp_path_factory.mktemp("onnx-tf")
    jobs = []
    builders = {**_CHECKED, **_MODELS}  # a check is to leave no trace on what follows
    for name, build in builders.items():
        artifact = build(folder / f"{name}.onnx")
        job = {
            "artifact": encode(artifact),
            "output": str(folder / f"{name}-saved"),
            "options": {"auto_cast": False},
            "check": name in _CHECKED,
            "inputs": "",
            "results": str(folder / f"{name}-results.npz"),
        }
        if name in _GOOD:
            inputs = [_sample(spec) for spec in artifact.inputs]
            session = onnxruntime.InferenceSession(
                artifact.path, providers=["CPUExecutionProvider"]
            )
            expected = session.run(
                [spec.name for spec in artifact.outputs],
                {spec.name: x for spec, x in zip(artifact.inputs, inputs, strict=True)},
            )
            job["inputs"] = str(folder / f"{name}-inputs.npz")
            np.savez(job["inputs"], **{str(i): x for i, x in enumerate(inputs)})
            np.savez(folder / f"{name}-expected.npz", **{str(i): y for i, y in enumerate(expected)})
        jobs.append(job)
    path = [str(Path(p.__file__ or "").parents[1]) for p in (convkit, convkit_onnx_tf)]
    before = {name: (folder / f"{name}.onnx").read_bytes() for name in builders}
    done = subprocess.run(
        [str(onnx_tf_python), "-c", _DRIVER],
        input=json.dumps({"path": path, "jobs": jobs}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    line = next(x for x in done.stdout.splitlines() if x.startswith("ANSWER"))
    for name, content in before.items():
        assert (folder / f"{name}.onnx").read_bytes() == content, f"{name}.onnx was changed"
    found = json.loads(line.removeprefix("ANSWER"))
    return {
        name: {**answer, "folder": folder, "stderr": done.stderr}
        for name, answer in zip(builders, found, strict=True)
    }


def _sample(spec: TensorSpec) -> Any:
    shape = tuple(d if isinstance(d, int) else 2 for d in spec.shape)
    if spec.dtype.startswith("int"):
        return np.random.default_rng(3).integers(0, 50, shape).astype(spec.dtype)
    return _random(*shape, seed=len(spec.name)).astype(spec.dtype)


@pytest.mark.parametrize("name", _GOOD)
def test_it_computes_what_onnxruntime_computes(
    answers: Mapping[str, Mapping[str, Any]], name: str
) -> None:
    answer = answers[name]
    assert "error" not in answer, answer
    expected = np.load(answer["folder"] / f"{name}-expected.npz")
    results = np.load(answer["folder"] / f"{name}-results.npz")
    assert len(results.files) == len(expected.files) > 0
    for key in expected.files:
        assert np.ptp(expected[key]) > 0
        np.testing.assert_allclose(results[key], expected[key], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "what", "layers"),
    [
        ("check-gru", "GRU (GRU with linear_before_reset is not supported", ["/rnn/GRU"]),
        ("check-too_new", "Unsqueeze of opset 13", ["Unsqueeze_0"]),
        ("check-unknown", "NonMaxMystery", ["NonMaxMystery_0"]),
        ("check-branches", "Mystery", ["choice"]),
    ],
)
def test_obstacles_are_found_without_converting(
    answers: Mapping[str, Mapping[str, Any]], name: str, what: str, layers: list[str]
) -> None:
    (obstacle,) = answers[name]["obstacles"]
    assert obstacle["what"].startswith(what)
    assert obstacle["layers"] == layers
    assert obstacle["remedy"]


@pytest.mark.parametrize("name", ["check-cnn", "check-lstms"])
def test_no_obstacle_is_claimed_that_is_none(
    answers: Mapping[str, Mapping[str, Any]], name: str
) -> None:
    assert answers[name]["obstacles"] == []


@pytest.mark.parametrize("name", ["lstms", "rnns", "plain_gru"])
def test_recurrent_models_have_no_state(
    answers: Mapping[str, Mapping[str, Any]], name: str
) -> None:
    assert answers[name]["variables"] == 0


def test_order_and_names_are_those_of_the_source(
    answers: Mapping[str, Mapping[str, Any]],
) -> None:
    result = decode(Artifact, answers["two"]["artifact"])
    assert [(s.name, s.dtype) for s in result.inputs] == [("zeta", "float32"), ("alpha", "int64")]
    assert [s.name for s in result.outputs] == ["sum", "difference"]
    assert result.state == State("tf-saved")


def test_symbolic_dimensions_are_kept(answers: Mapping[str, Mapping[str, Any]]) -> None:
    result = decode(Artifact, answers["dynamic"]["artifact"])
    assert result.inputs[0].shape == ("batch", 3)
    assert result.outputs[0].shape == ("batch", 2)


def test_names_that_tensorflow_cannot_bear_are_replaced_and_told(
    answers: Mapping[str, Mapping[str, Any]],
) -> None:
    result = decode(Artifact, answers["odd_names"]["artifact"])
    names = [spec.name for spec in (*result.inputs, *result.outputs)]
    assert len(set(names)) == 5
    assert all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) for name in names)
    assert result.inputs[0].name == "input_1"


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("too_new", "ConversionError", "Unsqueeze version 13"),
        ("unknown", "ConversionError", "NonMaxMystery"),
        ("needs_cast", "ConversionError", "auto_cast"),
        ("truncated", "InputError", "truncated.onnx"),
        ("empty", "InputError", "empty.onnx"),
        ("misnamed", "InputError", "other"),
    ],
)
def test_failures_say_why(
    answers: Mapping[str, Mapping[str, Any]], name: str, error: str, words: str
) -> None:
    answer = answers[name]
    assert answer["error"] == error
    assert words in answer["message"]
    assert "Traceback" not in answer["message"]
    assert not (answer["folder"] / f"{name}-saved").exists()
    if error == "ConversionError":
        assert answer["cause"] != "NoneType"
        assert answer["hint"]


def test_it_is_silent(answers: Mapping[str, Mapping[str, Any]]) -> None:
    assert answers["cnn"]["stderr"].strip() == ""


def test_importing_the_plugin_loads_no_framework() -> None:
    code = (
        "import sys; import convkit_onnx_tf.plugin as p; p.convkit_converters(); "
        "print([m for m in ('tensorflow', 'onnx', 'numpy', 'onnx_tf') if m in sys.modules])"
    )
    path = [str(Path(p.__file__ or "").parents[1]) for p in (convkit, convkit_onnx_tf)]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_the_lock_pins_every_package_with_hashes_and_names_no_host() -> None:
    (converter,) = convkit_converters()
    assert converter.isolated is not None
    lock = converter.isolated.lock
    requirements = [x for x in lock.splitlines() if x and not x.startswith((" ", "#"))]
    assert len(requirements) > 40
    assert all(re.match(r"[a-z0-9-]+==\S+( ;.*)? \\$", line) for line in requirements)
    assert lock.count("--hash=sha256:") > len(requirements)
    assert not re.search(r"https?:|--index|--find-links|@ file", lock)


def test_safe_names_are_unique_and_keep_what_fits() -> None:
    names = safe_names(["a.b", "a_b", "A_B", "self", "1", "x"], taken=["x"])
    assert names["a_b"] == "a_b"
    assert len({n.lower() for n in names.values()}) == 6
    assert names["x"] != "x"
