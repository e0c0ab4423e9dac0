"""Evaluation over real runtimes: rows, changes, agreement, and what must be told."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convkit
from convkit.analysis.evaluate import evaluate_found
from convkit.artifact import Artifact, ReadOptions, State
from convkit.engine.evaluate import check_metric
from convkit.engine.sources import load
from convkit.engine.user_metric import UserMetric
from convkit.errors import InputError, UsageError

onnx = pytest.importorskip("onnx")

CLASSES, SIDE, COUNT = 5, 6, 40
RNG = np.random.default_rng(3)
WEIGHTS = RNG.standard_normal((3 * SIDE * SIDE, CLASSES)).astype(np.float32)
IMAGES = RNG.random((COUNT, 3, SIDE, SIDE)).astype(np.float32)
LABELS = (IMAGES.reshape(COUNT, -1) @ WEIGHTS).argmax(1)


def write(path: Path, nodes: list[Any], weights: Mapping[str, Any], shape: Any, out: Any) -> Path:
    """An ONNX file with one float input `x` and one output `y`."""
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, out)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


def classifier(path: Path, weights: Any = WEIGHTS, scale: float | None = None) -> Path:
    """Flatten and multiply; `scale` multiplies the scores."""
    node = onnx.helper.make_node
    values = {"w": weights, "s": np.array(1.0 if scale is None else scale, np.float32)}
    nodes = [
        node("Flatten", ["x"], ["f"]),
        node("MatMul", ["f", "w"], ["m"]),
        node("Mul", ["m", "s"], ["y"]),
    ]
    return write(path, nodes, values, [1, 3, SIDE, SIDE], [1, CLASSES])


def turned(path: Path) -> Path:
    """The same classifier with channels last."""
    node = onnx.helper.make_node
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        node("Flatten", ["t"], ["f"]),
        node("MatMul", ["f", "w"], ["y"]),
    ]
    return write(path, nodes, {"w": WEIGHTS}, [1, SIDE, SIDE, 3], [1, CLASSES])


def other_size(path: Path) -> Path:
    node = onnx.helper.make_node
    nodes = [node("Flatten", ["x"], ["f"]), node("MatMul", ["f", "w"], ["y"])]
    weights = {"w": np.ones((3 * 64, CLASSES), np.float32)}
    return write(path, nodes, weights, [1, 3, 8, 8], [1, CLASSES])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.npz"
    np.savez(path, x=IMAGES, y=LABELS)
    return path


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], str]:
    """Writes a metric of the user's own; returns its name."""

    def make(body: str, name: str = "metric") -> str:
        (tmp_path / "mine.py").write_text(body)
        return f"{tmp_path / 'mine.py'}:{name}"

    return make


def test_models_are_scored_alike_and_compared(tmp_path: Path, data: Path) -> None:
    noisy = WEIGHTS + RNG.standard_normal(WEIGHTS.shape).astype(np.float32)
    models = [classifier(tmp_path / "a.onnx"), classifier(tmp_path / "b.onnx", noisy)]
    guesses = (IMAGES.reshape(COUNT, -1) @ noisy).argmax(1)
    found = convkit.evaluate([*models, turned(tmp_path / "c.onnx")], data=data, metric="top1")
    assert [row.title for row in found.rows] == ["a.onnx", "b.onnx", "c.onnx"]
    assert (found.samples, found.reference) == (COUNT, "a.onnx")
    first, second, third = found.rows
    assert first.metric is not None and second.metric is not None and third.metric is not None
    assert (first.metric.value, first.change, first.slices) == (1.0, None, ())
    assert second.metric.value == pytest.approx(float((guesses == LABELS).mean()))
    assert second.change == pytest.approx(second.metric.value - 1.0)
    assert second.slices[0].top1 == pytest.approx(second.metric.value)
    assert third.metric.value == 1.0, "a file with its axes turned gets the same samples"
    assert third.slices[0].sqnr_db > 100
    assert not any(row.problems or row.error for row in found.rows)


def test_another_reference_and_a_limit(tmp_path: Path, data: Path) -> None:
    paths = [classifier(tmp_path / "a.onnx", -WEIGHTS), classifier(tmp_path / "b.onnx")]
    found = convkit.evaluate(paths[0], data=data, metric="top1", reference=paths[1], limit=10)
    assert (found.reference, found.samples) == ("b.onnx", 10)
    row = found.row("a.onnx")
    assert row is not None and row.metric is not None
    assert row.change == pytest.approx(row.metric.value - 1.0)
    assert row.metric.samples == 10


def test_one_broken_candidate_does_not_sink_the_others(tmp_path: Path, data: Path) -> None:
    good = classifier(tmp_path / "good.onnx")
    torn = tmp_path / "torn.onnx"
    torn.write_bytes(good.read_bytes()[:100])
    nan = classifier(tmp_path / "nan.onnx", scale=float("nan"))
    dead = classifier(tmp_path / "dead.onnx", scale=0.0)
    size = other_size(tmp_path / "size.onnx")
    absent = tmp_path / "absent.onnx"
    found = convkit.evaluate([torn, good, nan, dead, size, absent], data=data, metric="top1")
    rows = {row.title: row for row in found.rows}
    assert list(rows) == [p.name for p in (torn, good, nan, dead, size, absent)]
    assert found.reference == "good.onnx", "the first one that can be read"
    assert rows["torn.onnx"].error and rows["torn.onnx"].metric is None
    assert "x (1, 3, 8, 8) float32" in rows["size.onnx"].error
    assert "x (1, 3, 6, 6) float32" in rows["size.onnx"].error
    assert "there is no file" in rows["absent.onnx"].error
    broken = rows["nan.onnx"]
    assert broken.metric is not None and broken.metric.value == 0.0
    assert f"y: NaN or infinity in {COUNT} samples" in broken.problems
    assert any("the same for every sample, 0 everywhere" in p for p in rows["dead.onnx"].problems)
    assert any("all values are the same" in p for p in rows["dead.onnx"].problems)
    assert not rows["good.onnx"].problems


def test_nothing_to_score_is_an_error(tmp_path: Path, data: Path) -> None:
    torn = tmp_path / "torn.onnx"
    torn.write_bytes(classifier(tmp_path / "good.onnx").read_bytes()[:100])
    with pytest.raises(InputError):
        convkit.evaluate([torn], data=data, metric="top1")
    with pytest.raises(UsageError, match="no model to evaluate"):
        convkit.evaluate([], data=data, metric="top1")


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("top-1", "no metric called 'top-1'"),
        ("mine:", "does not name a metric"),
        (":f", "does not name a metric"),
        ("nowhere_to_be_found:f", "ModuleNotFoundError"),
        ("nowhere.py:f", "there is no file"),
        ("os:nothing_like_it", "has no 'nothing_like_it'"),
        ("os:sep", "is a str, which scores nothing"),
        ("os:listdir", "takes 1 argument"),
    ],
)
def test_metrics_that_are_not_there(metric: str, message: str, tmp_path: Path) -> None:
    with convkit.Kit().session() as session, pytest.raises(UsageError, match=message) as caught:
        check_metric(session, metric)
        UserMetric.load(metric, tmp_path)
    assert caught.value.hint


def test_data_that_cannot_be_used(tmp_path: Path) -> None:
    model = classifier(tmp_path / "a.onnx")
    cases: dict[str, dict[str, Any]] = {
        "holds no labels": {"x": IMAGES},
        "has class 7, but the model gives 5 scores": {"x": IMAGES[:2], "y": np.array([0, 7])},
        "the labels are float32": {"x": IMAGES[:2], "y": np.zeros(2, np.float32)},
        "but input x takes": {"x": IMAGES[:, :, 1:], "y": LABELS},
        "the data set has 2 labels": {"x": IMAGES[:3], "y": np.array([0, 1])},
    }
    for message, arrays in cases.items():
        np.savez(tmp_path / "bad.npz", **arrays)
        with pytest.raises(UsageError, match=message):
            convkit.evaluate(model, data=tmp_path / "bad.npz", metric="top1")
    with pytest.raises(UsageError, match="there is no data set"):
        convkit.evaluate(model, data=tmp_path / "nowhere", metric="top1")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds nothing that fidelity can be fed with"):
        convkit.evaluate(model, data=tmp_path / "empty", metric="fidelity")


def test_fidelity_needs_no_labels(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", IMAGES)
    models = [
        classifier(tmp_path / "a.onnx"),
        classifier(tmp_path / "b.onnx", scale=2.0),
        classifier(tmp_path / "c.onnx", -WEIGHTS),
    ]
    found = convkit.evaluate(models, data=tmp_path / "x.npy", metric="fidelity")
    values = [row.metric.value for row in found.rows if row.metric]
    assert values == pytest.approx([1.0, 1.0, -1.0])
    double = found.rows[1].metric
    assert double is not None
    assert double.details["sqnr_db"] == pytest.approx(0.0, abs=1e-3)
    assert double.details["top1"] == 1.0
    agreement = convkit.evaluate(models, data=tmp_path / "x.npy", metric="fidelity-top1")
    hits = [row.metric.value for row in agreement.rows if row.metric]
    assert hits[:2] == [1.0, 1.0]
    assert hits[2] == 0.0, "the best class of the one is the worst of the other"


def test_a_lost_slice_is_not_hidden_by_the_rest(tmp_path: Path) -> None:
    """Boxes in pixels beside scores: over both the cosine stays near 1."""
    node = onnx.helper.make_node
    boxes = RNG.random((3 * SIDE * SIDE, 4)).astype(np.float32) * 5

    def detector(path: Path, gain: float) -> Path:
        nodes = [
            node("Flatten", ["x"], ["f"]),
            node("MatMul", ["f", "b"], ["boxes"]),
            node("MatMul", ["f", "w"], ["l"]),
            node("Sigmoid", ["l"], ["p"]),
            node("Mul", ["p", "g"], ["scores"]),
            node("Concat", ["boxes", "scores"], ["flat"], axis=1),
            node("Unsqueeze", ["flat", "axis"], ["y"]),
        ]
        values = {
            "b": boxes,
            "w": WEIGHTS,
            "g": np.array(gain, np.float32),
            "axis": np.array([2], np.int64),
        }
        return write(path, nodes, values, [1, 3, SIDE, SIDE], [1, 4 + CLASSES, 1])

    np.save(tmp_path / "x.npy", IMAGES)
    models = [detector(tmp_path / "a.onnx", 1.0), detector(tmp_path / "b.onnx", 0.0)]
    row = convkit.evaluate(models, data=tmp_path / "x.npy", metric="fidelity").rows[1]
    assert row.metric is not None and row.metric.value == 0.0
    assert [s.part for s in row.slices] == ["[:, 0:4]", "[:, 4:9]"]
    assert row.slices[0].cosine == pytest.approx(1.0)
    assert any("[:, 4:9]: all values are the same" in p for p in row.problems)


TOP1 = """
import numpy as np

def metric(outputs, data):
    labels = np.load(data)["y"][: len(outputs)]
    hits = [o[0].argmax() == label for o, label in zip(outputs, labels, strict=True)]
    return np.mean(hits)

def named(outputs, data, names):
    assert names == [str(n) for n in range(len(outputs))]
    return {"accuracy": metric(outputs, data), "count": len(names)}

class Own:
    def inputs(self, data, artifact, limit):
        for row in np.load(data)["x"][:limit][::-1]:
            yield [row[None]]

    def score(self, data, outputs, limit):
        labels = np.load(data)["y"][:limit][::-1]
        return float(np.mean([o[0].argmax() == l for o, l in zip(outputs, labels, strict=True)]))

own = Own()
"""


@pytest.mark.parametrize("name", ["metric", "named", "Own", "own"])
def test_a_users_own_metric(
    name: str, tmp_path: Path, data: Path, script: Callable[..., str]
) -> None:
    models = [classifier(tmp_path / "a.onnx"), classifier(tmp_path / "b.onnx", -WEIGHTS)]
    found = convkit.evaluate(models, data=data, metric=script(TOP1, name), limit=20)
    values = [row.metric.value for row in found.rows if row.metric]
    assert values == [1.0, 0.0]
    assert found.samples == 20
    if name == "named":
        assert found.rows[0].metric is not None
        assert found.rows[0].metric.details == {"count": 20.0}


def test_names_of_files_in_order(tmp_path: Path, script: Callable[..., str]) -> None:
    pillow = pytest.importorskip("PIL.Image")
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(12):
        pillow.new("RGB", (SIDE, SIDE), (number * 20, 0, 0)).save(folder / f"{number:02d}.png")
    (folder / "calibration.toml").write_text("[transform]\nrange = [0, 1]\n")
    body = """
def metric(outputs, data, names):
    assert names == sorted(names) and names[0] == "00.png", names
    return {"mean": sum(float(o[0].mean()) * n for n, o in enumerate(outputs)), "n": len(names)}
"""
    path = classifier(tmp_path / "a.onnx")
    found = convkit.evaluate(path, data=folder, metric=script(body), limit=7)
    assert found.rows[0].metric is not None
    assert found.rows[0].metric.details == {"n": 7.0}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "def metric(outputs, data):\n    x = 1\n    return outputs['nope']",
            r"raised TypeError: .* at .*mine\.py:3$",
        ),
        ("def metric(outputs, data):\n    raise SystemExit(3)", r"raised SystemExit: 3 at"),
        ("def metric(outputs, data): return float('nan')", "returned nan, not a finite number"),
        ("def metric(outputs, data): return float('inf')", "returned inf"),
        ("def metric(outputs, data): pass", "returned None"),
        ("def metric(outputs, data): return 'good'", "returned 'good'"),
        ("def metric(outputs, data): return True", "returned True"),
        ("def metric(outputs, data): return {}", "returned an empty mapping"),
        ("def metric(outputs, data): return {'a': 1, 'b': 'x'}", "returned 'x' for 'b'"),
        (
            "import numpy\ndef metric(outputs, data): return numpy.ones(3)",
            r"returned an array of shape \(3,\)",
        ),
        ("def metric(outputs, data) return 1", r"SyntaxError: .* at .*mine\.py:1"),
        ("import nothing_like_it", "ModuleNotFoundError"),
        ("class metric:\n    def __init__(self, a): pass", "cannot be built without arguments"),
        (
            "class metric:\n    def inputs(self, data, artifact, limit):\n        yield 1 / 0\n"
            "    def score(self, data, outputs, limit): return 1",
            r"could not read the data: ZeroDivisionError: .*mine\.py:3",
        ),
    ],
)
def test_a_users_broken_metric_is_explained(
    body: str, message: str, tmp_path: Path, data: Path, script: Callable[..., str]
) -> None:
    outputs = [[row[None]] for row in RNG.random((6, CLASSES))]
    with pytest.raises(UsageError, match=message) as caught:
        metric = UserMetric.load(script(body), tmp_path)
        list(metric.inputs(data, Artifact(tmp_path, State("onnx")), 6) or ())
        metric.score(data, outputs, 6)
    assert "Traceback" not in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "def metric(outputs, data):\n    return outputs['nope']",
            r"^the metric .*mine\.py:metric raised TypeError: .* at .*mine\.py:2$",
        ),
        ("def metric(outputs, data): return 0.5", "is constant"),
    ],
)
def test_a_metric_that_fails_for_all_is_an_error(
    body: str, message: str, tmp_path: Path, data: Path, script: Callable[..., str]
) -> None:
    models = [classifier(tmp_path / "a.onnx"), classifier(tmp_path / "b.onnx", -WEIGHTS)]
    with pytest.raises(UsageError, match=message):
        convkit.evaluate(models, data=data, metric=script(body), limit=6)


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(-5, 5))
def test_any_number_is_taken(value: float, whole: int) -> None:
    for given_value in (value, np.float64(value), np.array([value]), whole, np.int32(whole)):
        metric = UserMetric("m", lambda outputs, data, answer=given_value: answer)
        found = metric.score(Path(), [[np.zeros(1)]], None)
        assert found.value == float(np.asarray(given_value).reshape(-1)[0])
        assert found.samples == 1


def test_an_edited_metric_is_asked_again(
    tmp_path: Path, data: Path, script: Callable[..., str]
) -> None:
    path = classifier(tmp_path / "a.onnx")
    for value in (1, 2):
        body = f"def metric(outputs, data): return {value} + float(outputs[0][0].sum() > 1e9)"
        body += f" + 0 * {value} if outputs[0][0].any() else 0"
        found = convkit.evaluate(path, data=data, metric=script(body), limit=4)
        assert found.rows[0].metric is not None
        assert found.rows[0].metric.value == value


def test_inside_an_open_session(tmp_path: Path, data: Path) -> None:
    paths = [classifier(tmp_path / "a.onnx"), classifier(tmp_path / "b.onnx", scale=2.0)]
    with convkit.Kit().session() as session:
        first, second = (load(session, path, "onnx", ReadOptions()) for path in paths)
        found = evaluate_found(session, "top1", data, ("original", first), [("twice", second)])
    assert [row.title for row in found.rows] == ["original", "twice"]
    assert found.rows[1].change == 0.0


def test_titles_tell_files_of_one_name_apart(tmp_path: Path, data: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        classifier(tmp_path / folder / "model.onnx")
    paths = [tmp_path / f / "model.onnx" for f in ("one", "two")]
    found = convkit.evaluate(paths, data=data, metric="top1", limit=2)
    assert [row.title for row in found.rows] == ["one/model.onnx", "two/model.onnx"]


def test_tokens_and_several_inputs(tmp_path: Path) -> None:
    """Integer inputs by name, labels beside them."""
    helper = onnx.helper
    table = RNG.standard_normal((9, CLASSES)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["e"]),
        helper.make_node("Unsqueeze", ["mask", "axis"], ["m"]),
        helper.make_node("Mul", ["e", "m"], ["k"]),
        helper.make_node("ReduceSum", ["k", "one"], ["y"], keepdims=0),
    ]
    values = {"table": table, "axis": np.array([2]), "one": np.array([1])}
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info("ids", onnx.TensorProto.INT64, [1, 4]),
            helper.make_tensor_value_info("mask", onnx.TensorProto.FLOAT, [1, 4]),
        ],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, CLASSES])],
        [onnx.numpy_helper.from_array(v, k) for k, v in values.items()],
    )
    path = tmp_path / "text.onnx"
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    ids = RNG.integers(0, 9, (12, 4))
    mask = (RNG.random((12, 4)) < 0.7).astype(np.float32)
    labels = (table[ids] * mask[..., None]).sum(1).argmax(1)
    np.savez(tmp_path / "t.npz", ids=ids, mask=mask, y=labels)
    found = convkit.evaluate(path, data=tmp_path / "t.npz", metric="top1")
    assert found.rows[0].metric is not None
    assert found.rows[0].metric.value == 1.0


def test_the_command_line(tmp_path: Path, data: Path) -> None:
    from tests.cli.commands import run

    good = classifier(tmp_path / "good.onnx")
    torn = tmp_path / "torn.onnx"
    torn.write_bytes(good.read_bytes()[:100])
    arguments = ("--data", data, "--metric", "top1", "--json", "--csv", "out/table.csv")
    answer = run("evaluate", good, torn, *arguments, cwd=tmp_path)
    assert answer.code == 1, "one of them failed"
    titles = [row["title"] for row in answer.document["rows"]]
    assert titles == ["good.onnx", "torn.onnx"]
    assert answer.document["rows"][0]["metric"]["value"] == 1.0
    with (tmp_path / "out/table.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [row["value"] for row in table] == ["1.0", ""]
    assert table[1]["error"] == answer.document["rows"][1]["error"]
    quiet = run("evaluate", good, torn, *arguments[:4], "-q", cwd=tmp_path)
    assert (quiet.code, quiet.out) == (1, "")
    assert "torn.onnx" in quiet.err
    unknown = run("evaluate", good, "--data", data, "--metric", "top-1", "--json", cwd=tmp_path)
    assert unknown.code == 2
    assert "Did you mean top1" in json.loads(unknown.out)["error"]["hint"]
