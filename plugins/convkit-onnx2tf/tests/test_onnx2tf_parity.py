"""Both edges on real small models, run by the interpreter of their isolated environment."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import convkit
import convkit_onnx2tf
from convkit.codec import decode, encode
from convkit.plugin import Artifact, Obstacle, State, TensorSpec

# Converts and runs what it wrote, with no network to be had: one start serves all.
_DRIVER = """
import json, os, socket, sys
from pathlib import Path
request = json.load(sys.stdin)
sys.path[:0] = request["path"]
import numpy as np
from convkit.codec import decode, encode
from convkit.errors import ConvkitError
from convkit.plugin import Artifact, HopContext
from convkit_onnx2tf.plugin import convkit_converters

def offline(*arguments, **settings):
    raise SystemError("somebody went online")

socket.socket.connect = socket.getaddrinfo = socket.create_connection = offline

def run_tflite(path, inputs):
    from ai_edge_litert.interpreter import Interpreter
    interpreter = Interpreter(model_path=path)
    ends = {d["name"]: d["index"] for d in interpreter.get_input_details()}
    for name, value in inputs.items():
        interpreter.resize_tensor_input(ends[name], value.shape)
    interpreter.allocate_tensors()
    for name, value in inputs.items():
        interpreter.set_tensor(ends[name], value)
    interpreter.invoke()
    return {d["name"]: interpreter.get_tensor(d["index"])
            for d in interpreter.get_output_details()}

def run_saved(path, inputs):
    import tensorflow as tf
    signature = tf.saved_model.load(path).signatures["serving_default"]
    return {k: v.numpy() for k, v in signature(**{
        name: tf.constant(value) for name, value in inputs.items()}).items()}

edges = {edge.name: edge for edge in convkit_converters()}
answers = []
for job in request["jobs"]:
    edge, artifact = edges[job["edge"]], decode(Artifact, job["artifact"])
    output = Path(job["output"])
    workdir = output.parent / "workdir"
    workdir.mkdir(exist_ok=True)
    def outside():
        return [dict(os.environ), os.getcwd(), artifact.path.read_bytes()]
    before = outside()
    answer = {"obstacles": encode(tuple(edge.check(artifact, {})))} if job["runs"] else {}
    answers.append(answer)
    try:
        result = edge.convert(
            artifact, output, {"io_layout": job["layout"]}, HopContext(workdir, lambda *_: None))
    except ConvkitError as error:
        answer |= {"error": type(error).__name__, "message": error.message,
                   "cause": type(error.__cause__).__name__, "hint": error.hint}
        result = None
    answer["litter"] = [p.name for p in workdir.iterdir()]
    answer["restored"] = before == outside()
    if result is None:
        continue
    answer["artifact"] = encode(result)
    if not os.path.exists(job["inputs"]):
        continue
    given = np.load(job["inputs"])
    values = (run_saved if output.is_dir() else run_tflite)(str(output), {
        spec.name: np.ascontiguousarray(
            np.transpose(given[str(i)], spec.permutation or None)
            if spec.permutation else given[str(i)]
        ).astype(spec.dtype)
        for i, spec in enumerate(result.inputs)})
    np.savez(job["results"], **{str(i): values[s.name] for i, s in enumerate(result.outputs)})
print("ANSWER" + json.dumps(answers))
"""

_EDGES = {"tflite": "onnx2tf.tflite", "saved": "onnx2tf.saved"}
_TURN = (0, 2, 3, 1)

Value = onnx.ValueInfoProto
node = helper.make_node


def _value(name: str, shape: Sequence[int | str], kind: int = TensorProto.FLOAT) -> Value:
    return helper.make_tensor_value_info(name, kind, shape)


def _random(*shape: int, seed: int = 7) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    constants: Mapping[str, Any] | None = None,
    opset: int = 17,
) -> Artifact:
    initializers = [numpy_helper.from_array(v, k) for k, v in (constants or {}).items()]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    return Artifact(path, State("onnx"), _specs(inputs), _specs(outputs))


def _specs(values: Sequence[Value]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            v.name,
            tuple(d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim),
            np.dtype(helper.tensor_dtype_to_np_dtype(v.type.tensor_type.elem_type)).name,
        )
        for v in values
    )


def _square(path: Path) -> Artifact:
    """Every axis is 8 long: no shape gives a transpose away. Two outputs, one used inside;
    depthwise convolutions, dilated and with a multiplier."""
    return _save(
        path,
        [
            node("Conv", ["image", "w1", "b"], ["a"], pads=[1, 1, 1, 1]),
            node("Relu", ["a"], ["features"]),
            node("Conv", ["features", "w2"], ["c"], group=8, pads=[2, 2, 2, 2], dilations=[2, 2]),
            node("Conv", ["c", "w3"], ["d"], group=8),
            node("Conv", ["d", "w4"], ["e"]),
            node("Sigmoid", ["e"], ["mask"]),
        ],
        [_value("image", [1, 8, 8, 8])],
        [_value("mask", [1, 8, 8, 8]), _value("features", [1, 8, 8, 8])],
        {
            "w1": _random(8, 8, 3, 3) / 8,
            "b": _random(8),
            "w2": _random(8, 1, 3, 3, seed=2),
            "w3": _random(16, 1, 1, 1, seed=3),  # two results for each channel
            "w4": _random(8, 16, 1, 1, seed=4) / 8,
        },
    )


def _detector(path: Path) -> Artifact:
    """Two scales, resize and concatenation, boxes and scores flattened to rank 3."""
    return _save(
        path,
        [
            node("Conv", ["input.1", "w1"], ["c1"], strides=[2, 2], pads=[1, 1, 1, 1]),
            node("Sigmoid", ["c1"], ["s1"]),
            node("Mul", ["c1", "s1"], ["a1"]),
            node("MaxPool", ["a1"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
            node(
                "Resize",
                ["p", "", "scales"],
                ["up"],
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            ),
            node("Concat", ["up", "a1"], ["both"], axis=1),
            node("Conv", ["both", "w2"], ["head"]),
            node("Reshape", ["head", "flat"], ["r"]),
            node("Split", ["r", "sizes"], ["boxes", "logits"], axis=1),
            node("Sigmoid", ["logits"], ["scores"]),
            node("Mul", ["boxes", "stride"], ["pixels"]),
            node("Concat", ["pixels", "scores"], ["/head/out:0"], axis=1),
        ],
        [_value("input.1", [1, 3, 16, 16])],
        [_value("/head/out:0", [1, 7, 64])],
        {
            "w1": _random(6, 3, 3, 3),
            "w2": _random(7, 12, 1, 1, seed=3),
            "scales": np.array([1, 1, 2, 2], np.float32),
            "flat": np.array([1, 7, 64]),
            "sizes": np.array([4, 3]),
            "stride": np.array(8, np.float32),
        },
    )


def _mlp(path: Path) -> Artifact:
    """An open batch."""
    return _save(
        path,
        [
            node("Gemm", ["rows", "w1", "b1"], ["h"]),
            node("Relu", ["h"], ["a"]),
            node("MatMul", ["a", "w2"], ["l"]),
            node("Softmax", ["l"], ["classes"], axis=-1),
        ],
        [_value("rows", ["batch", 6])],
        [_value("classes", ["batch", 4])],
        {"w1": _random(6, 8), "b1": _random(8), "w2": _random(8, 4, seed=2)},
    )


def _transformer(path: Path) -> Artifact:
    """Embedding, attention with a mask, layer norm and GELU; two inputs, ids and mask."""
    return _save(
        path,
        [
            node("Gather", ["table", "zids"], ["x"]),
            node("MatMul", ["x", "wq"], ["q1"]),
            node("MatMul", ["x", "wk"], ["k1"]),
            node("Reshape", ["q1", "heads"], ["q2"]),
            node("Reshape", ["k1", "heads"], ["k2"]),
            node("Transpose", ["q2"], ["q"], perm=[0, 2, 1, 3]),
            node("Transpose", ["k2"], ["k"], perm=[0, 2, 3, 1]),
            node("Transpose", ["q2"], ["v"], perm=[0, 2, 1, 3]),
            node("MatMul", ["q", "k"], ["scores"]),
            node("Add", ["scores", "bias"], ["masked"]),
            node("Softmax", ["masked"], ["weights"], axis=-1),
            node("MatMul", ["weights", "v"], ["mixed"]),
            node("Transpose", ["mixed"], ["back"], perm=[0, 2, 1, 3]),
            node("Reshape", ["back", "tokens"], ["joined"]),
            node("Add", ["joined", "x"], ["residual"]),
            node("LayerNormalization", ["residual", "g", "b"], ["n"], axis=-1),
            node("Div", ["n", "root"], ["e1"]),
            node("Erf", ["e1"], ["e2"]),
            node("Add", ["e2", "one"], ["e3"]),
            node("Mul", ["n", "e3"], ["hidden"]),
        ],
        [_value("zids", [1, 8], TensorProto.INT64), _value("bias", [1, 1, 8, 8])],
        [_value("hidden", [1, 8, 8])],
        {
            "table": _random(20, 8),
            "wq": _random(8, 8, seed=1),
            "wk": _random(8, 8, seed=2),
            "heads": np.array([1, 8, 2, 4]),
            "tokens": np.array([1, 8, 8]),
            "g": _random(8, seed=4),
            "b": _random(8, seed=5),
            "root": np.array(2**0.5, np.float32),
            "one": np.array(1, np.float32),
        },
    )


def _lstm(path: Path) -> Artifact:
    return _save(
        path,
        [
            node("LSTM", ["sequence", "W", "R", "B"], ["y", "h"], hidden_size=6),
            node("Squeeze", ["h", "axis"], ["state"]),
        ],
        [_value("sequence", [5, 1, 3])],
        [_value("state", [1, 6])],
        {
            "W": _random(1, 24, 3),
            "R": _random(1, 24, 6, seed=2),
            "B": _random(1, 48),
            "axis": np.array([0]),
        },
    )


def _last_states(path: Path) -> Artifact:
    """What is left in two directions after the last step, of a sequence of two samples."""
    return _save(
        path,
        [
            node(
                "LSTM",
                ["sequence", "W", "R", "B"],
                ["y", "hidden", "cell"],
                hidden_size=6,
                direction="bidirectional",
            ),
            node("RNN", ["sequence", "V", "S", "C"], ["z", "plain"], hidden_size=4),
        ],
        [_value("sequence", [5, 2, 3])],
        [
            _value("y", [5, 2, 2, 6]),
            _value("hidden", [2, 2, 6]),
            _value("cell", [2, 2, 6]),
            _value("plain", [1, 2, 4]),
        ],
        {
            "W": _random(2, 24, 3),
            "R": _random(2, 24, 6, seed=2) / 3,
            "B": _random(2, 48),
            "V": _random(1, 4, 3),
            "S": _random(1, 4, 4, seed=5) / 2,
            "C": _random(1, 8, seed=6),
        },
    )


def _defined_by_others(path: Path) -> Artifact:
    """Operators, and slopes, that onnx2tf has nothing for, but the standard a definition."""
    return _save(
        path,
        [
            node("MatMul", ["x", "w"], ["a"]),
            node("RMSNormalization", ["a", "scale"], ["n"], axis=-1),
            node("Gelu", ["n"], ["g"]),
            node("Gelu", ["g"], ["t"], approximate="tanh"),
            node("Swish", ["t"], ["s"]),
            node("PRelu", ["s", "slope"], ["y"]),
        ],
        [_value("x", [1, 5, 8])],
        [_value("y", [1, 5, 8])],
        {"w": _random(8, 8), "scale": _random(8, seed=3), "slope": _random(5, 8, seed=4)},
        opset=24,
    )


def _without_kernel(path: Path) -> Artifact:
    """What onnx2tf itself writes to TFLite files only."""
    return _save(
        path,
        [
            node("HardSwish", ["x"], ["h"]),
            node("Gelu", ["h"], ["g"]),
            node("Round", ["g"], ["rounded"]),
            node("ArgMax", ["g"], ["best"], axis=-1, keepdims=0),
            node("ArgMin", ["g"], ["worst"], axis=1),
        ],
        [_value("x", [1, 5, 8])],
        [
            _value("rounded", [1, 5, 8]),
            _value("best", [1, 5], TensorProto.INT64),
            _value("worst", [1, 1, 8], TensorProto.INT64),
        ],
        opset=20,
    )


def _nearest(path: Path) -> Artifact:
    """As tf2onnx writes it, by factors that are not whole."""
    return _save(
        path,
        [
            node(
                "Resize",
                ["x", "none", "none", "sizes"],
                ["y"],
                mode="nearest",
                coordinate_transformation_mode="tf_half_pixel_for_nn",
                nearest_mode="floor",
            )
        ],
        [_value("x", [1, 2, 5, 4])],
        [_value("y", [1, 2, 7, 9])],
        {"none": np.zeros(0, np.float32), "sizes": np.array([1, 2, 7, 9])},
        opset=11,
    )


def _turned_by_itself(path: Path) -> Artifact:
    """Its own transpose before the output, which onnx2tf alone drops."""
    return _save(
        path,
        [node("Neg", ["x"], ["n"]), node("Transpose", ["n"], ["y"], perm=[0, 3, 1, 2])],
        [_value("x", [1, 4, 4, 4])],
        [_value("y", [1, 4, 4, 4])],
    )


def _vector(path: Path) -> Artifact:
    """A vector laid along either axis, straight from the input."""
    return _save(
        path,
        [
            node("Flatten", ["v"], ["column"]),
            node("Flatten", ["v"], ["row"], axis=0),
        ],
        [_value("v", [3])],
        [_value("column", [3, 1]), _value("row", [1, 3])],
    )


def _unknown(path: Path) -> Artifact:
    """Not in the table, next to a dead operator that is not either. onnx2tf alone would make a
    custom operator of it, which no runtime has, and call that a success."""
    return _save(
        path,
        [
            node("Mystery", ["x"], ["m"], name="odd"),
            node("Mystery", ["x"], ["dead"], name="unused"),
            node("Relu", ["m"], ["y"]),
        ],
        [_value("x", [2, 3])],
        [_value("y", [2, 3])],
    )


def _suppression(path: Path) -> Artifact:
    """Two classes and as many rows as are found; onnx2tf may fall back to one class a box."""
    return _save(
        path,
        [node("NonMaxSuppression", ["boxes", "scores", "most", "overlap"], ["kept"])],
        [_value("boxes", [1, 6, 4]), _value("scores", [1, 2, 6])],
        [_value("kept", ["n", 3], TensorProto.INT64)],
        {"most": np.array([3]), "overlap": np.array([0.5], np.float32)},
    )


def _truncated(path: Path) -> Artifact:
    artifact = _square(path)
    path.write_bytes(path.read_bytes()[:900])
    return artifact


def _misnamed(path: Path) -> Artifact:
    artifact = _mlp(path)
    return Artifact(path, artifact.state, (TensorSpec("other", (1, 6), "float32"),))


_GOOD: dict[str, Callable[[Path], Artifact]] = {
    "square": _square,
    "detector": _detector,
    "mlp": _mlp,
    "transformer": _transformer,
    "lstm": _lstm,
    "turned_by_itself": _turned_by_itself,
    "suppression": _suppression,
    "vector": _vector,
    "last_states": _last_states,
    "defined_by_others": _defined_by_others,
    "nearest": _nearest,
    "without_kernel": _without_kernel,
}
_BAD: dict[str, Callable[[Path], Artifact]] = {
    "unknown": _unknown,
    "truncated": _truncated,
    "misnamed": _misnamed,
}
_CASES = [
    *((name, "tflite", "source") for name in _GOOD if name != "last_states"),
    ("square", "tflite", "native"),
    ("detector", "tflite", "native"),
    ("transformer", "tflite", "native"),
    ("square", "saved", "source"),
    ("square", "saved", "native"),
    ("detector", "saved", "source"),
    ("mlp", "saved", "source"),
    ("transformer", "saved", "source"),
    ("lstm", "saved", "source"),
    ("last_states", "saved", "source"),
    ("defined_by_others", "saved", "source"),
    ("nearest", "saved", "source"),
    ("without_kernel", "saved", "source"),
]

Answers = Mapping[tuple[str, str, str], Mapping[str, Any]]


@pytest.fixture(scope="module")
def answers(onnx2tf_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """Every case, in one process of the isolated environment."""
    import onnxruntime

    folder = tmp_path_factory.mktemp("onnx2tf")
    cases = [*_CASES, *((name, "tflite", "source") for name in _BAD)]
    jobs = []
    for name, kind, layout in cases:
        artifact = (_GOOD | _BAD)[name](folder / f"{name}.onnx")
        stem = str(folder / f"{name}-{kind}-{layout}")
        if name in _GOOD:
            inputs = [_sample(spec) for spec in artifact.inputs]
            session = onnxruntime.InferenceSession(
                str(artifact.path), providers=["CPUExecutionProvider"]
            )
            expected = session.run(
                [spec.name for spec in artifact.outputs],
                {spec.name: x for spec, x in zip(artifact.inputs, inputs, strict=True)},
            )
            np.savez(f"{stem}-in.npz", **{str(i): x for i, x in enumerate(inputs)})
            np.savez(f"{stem}-expected.npz", **{str(i): y for i, y in enumerate(expected)})
        jobs.append(
            {
                "edge": _EDGES[kind],
                "artifact": encode(artifact),
                "output": stem if kind == "saved" else f"{stem}.tflite",
                "layout": layout,
                "runs": name not in ("truncated", "misnamed"),
                "inputs": f"{stem}-in.npz",
                "results": f"{stem}-out.npz",
            }
        )
    packages = folder / "packages"  # these two and not what else is installed beside them
    packages.mkdir()
    for package in (convkit, convkit_onnx2tf):
        (packages / package.__name__).symlink_to(Path(package.__file__ or "").parent)
    done = subprocess.run(
        [str(onnx2tf_python), "-c", _DRIVER],
        input=json.dumps({"path": [str(packages)], "jobs": jobs}),
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    line = next(x for x in done.stdout.splitlines() if x.startswith("ANSWER"))
    found = json.loads(line.removeprefix("ANSWER"))
    return {
        case: {**answer, "stem": job["output"].removesuffix(".tflite")}
        for case, job, answer in zip(cases, jobs, found, strict=True)
    }


def _sample(spec: TensorSpec) -> Any:
    shape = tuple(d if isinstance(d, int) else 3 for d in spec.shape)
    if spec.dtype.startswith("int"):
        return np.random.default_rng(3).integers(0, 20, shape).astype(spec.dtype)
    return _random(*shape, seed=len(spec.name)).astype(spec.dtype)


@pytest.mark.parametrize(("name", "kind", "layout"), _CASES)
def test_it_computes_what_onnxruntime_computes(
    answers: Answers, name: str, kind: str, layout: str
) -> None:
    answer = answers[name, kind, layout]
    assert "error" not in answer, answer
    expected = np.load(f"{answer['stem']}-expected.npz")
    results = np.load(f"{answer['stem']}-out.npz")
    outputs = decode(Artifact, answer["artifact"]).outputs
    assert len(results.files) == len(expected.files) == len(outputs)
    for key, spec in zip(expected.files, outputs, strict=True):
        wanted = expected[key]
        if spec.permutation:
            wanted = wanted.transpose(spec.permutation)
        assert results[key].shape == wanted.shape
        assert np.ptp(wanted) > 0
        np.testing.assert_allclose(results[key], wanted, atol=1e-4)
    assert answer["obstacles"] == []


def test_nothing_is_left_behind_or_changed(answers: Answers) -> None:
    for case, answer in answers.items():
        assert answer["litter"] == [], case
        assert answer["restored"] is True, case


def test_a_saved_model_is_all_there_is(answers: Answers) -> None:
    folder = Path(answers["mlp", "saved", "source"]["stem"])
    assert {p.name for p in folder.iterdir()} <= {
        "saved_model.pb",
        "fingerprint.pb",
        "variables",
        "assets",
    }


def test_native_pictures_have_channels_last_and_say_so(answers: Answers) -> None:
    square = decode(Artifact, answers["square", "tflite", "native"]["artifact"])
    for spec in (*square.inputs, *square.outputs):
        assert (spec.permutation, spec.layout) == (_TURN, "NHWC")
    detector = decode(Artifact, answers["detector", "tflite", "native"]["artifact"])
    assert detector.inputs[0].shape == (1, 16, 16, 3)
    assert detector.outputs[0].permutation == ()


def test_the_native_layout_needs_no_transpose(answers: Answers) -> None:
    sizes = {
        layout: Path(answers["square", "tflite", layout]["stem"] + ".tflite").stat().st_size
        for layout in ("source", "native")
    }
    assert sizes["native"] < sizes["source"]


def test_an_attention_mask_of_rank_four_is_no_picture(answers: Answers) -> None:
    result = decode(Artifact, answers["transformer", "tflite", "native"]["artifact"])
    assert [(s.name, s.permutation) for s in result.inputs] == [("zids", ()), ("bias", ())]


def test_open_sizes_and_order_are_kept(answers: Answers) -> None:
    for kind in ("tflite", "saved"):
        result = decode(Artifact, answers["mlp", kind, "source"]["artifact"])
        assert result.inputs[0].shape == ("batch", 6)
        assert result.outputs[0].shape == ("batch", 4)
    result = decode(Artifact, answers["square", "tflite", "source"]["artifact"])
    assert [s.name for s in result.outputs] == ["mask", "features"]


def test_names_are_kept_where_the_target_bears_them(answers: Answers) -> None:
    flat = decode(Artifact, answers["detector", "tflite", "source"]["artifact"])
    assert (flat.inputs[0].name, flat.outputs[0].name) == ("input.1", "head_out_0")
    saved = decode(Artifact, answers["detector", "saved", "source"]["artifact"])
    assert (saved.inputs[0].name, saved.outputs[0].name) == ("input_1", "head_out_0")


def test_unknown_operators_are_found_beforehand_with_their_layers(answers: Answers) -> None:
    found = decode(tuple[Obstacle, ...], answers["unknown", "tflite", "source"]["obstacles"])
    assert [(o.what, o.layers) for o in found] == [("Mystery", ("odd",))]


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("unknown", "ConversionError", "Mystery"),
        ("truncated", "InputError", "truncated.onnx"),
        ("misnamed", "InputError", "other"),
    ],
)
def test_failures_say_why(answers: Answers, name: str, error: str, words: str) -> None:
    answer = answers[name, "tflite", "source"]
    assert answer["error"] == error
    assert words in answer["message"]
    assert "Traceback" not in answer["message"]
    assert not Path(f"{answer['stem']}.tflite").exists()
    if error == "ConversionError":
        assert answer["cause"] != "NoneType"
        assert answer["hint"]
