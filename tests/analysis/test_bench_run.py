"""Whole benchmarks of real files: verdicts, candidates that fail, inputs, streams."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import convkit
from convkit.analysis.candidates import Candidate
from convkit.benchmark import Benchmark
from convkit.errors import InputError, UsageError, WorkerError
from tests.benchmarks import slowed

SLOWED = ("tests.benchmarks.slowed",)
MakeModel = Callable[..., Path]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> MakeModel:
    """Makes a small convolutional ONNX model, of some tenths of a millisecond."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    folder = tmp_path_factory.mktemp("bench")

    def build(name: str, shape: tuple[Any, ...] = (1, 3, 32, 32), layers: int = 3) -> Path:
        rng = np.random.default_rng(0)
        nodes, weights, before = [], [], "image"
        for number in range(layers):
            channels = 3 if number == 0 else 16
            kernel = rng.standard_normal((16, channels, 3, 3)).astype("float32")
            weights.append(numpy_helper.from_array(kernel, f"w{number}"))
            nodes.append(
                helper.make_node("Conv", [before, f"w{number}"], [f"y{number}"], pads=[1] * 4)
            )
            before = f"y{number}"
        graph = helper.make_graph(
            nodes,
            "net",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(before, TensorProto.FLOAT, (shape[0], 16, *shape[2:]))],
            weights,
        )
        opset = [helper.make_opsetid("", 17)]
        path = folder / name
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
        return path

    return build


def bench(*models: Path, **settings: Any) -> Benchmark:
    settings = {"seconds": 0.5, "streams": (), **settings}
    return convkit.bench(models, plugins=SLOWED, **settings)


def test_a_model_that_takes_half_as_long_again_is_slower_and_a_copy_is_not(make: MakeModel) -> None:
    model = make("plain.onnx")
    copy = model.with_name("copy.onnx")
    shutil.copy(model, copy)
    half = slowed.plant(model, model.with_suffix(".slowed"), 1.5)
    found = bench(model, copy, half, seconds=1.0)
    plain, same, slow = found.rows
    assert found.baseline == "plain.onnx"
    assert plain.ratio is None
    assert same.ratio is not None
    assert same.ratio.verdict in ("equal", "cannot tell")
    assert slow.ratio is not None
    assert slow.ratio.verdict == "slower"
    assert 1.3 < slow.ratio.value < 1.7
    assert slow.ratio.low < slow.ratio.value < slow.ratio.high
    for row in found.rows:
        assert row.latency is not None
        latency = row.latency
        assert 0 < latency.minimum <= latency.median <= latency.p90 <= latency.p95 <= latency.p99
        assert latency.minimum <= latency.own * 1.001
        assert latency.count >= found.rounds * found.repeats
        assert row.load_seconds
        assert row.first_seconds
        assert row.throughput == {}
    assert plain.versions["onnxruntime"]
    assert found.shapes == {"image": (1, 3, 32, 32)}
    assert plain.peak_bytes is None or 0 <= plain.peak_bytes < 200e6


def test_streams_are_processes_that_work_side_by_side(make: MakeModel) -> None:
    found = bench(make("plain.onnx"), seconds=0.2, streams=(1, 2))
    row = found.rows[0]
    assert set(row.throughput) == {"1", "2"}
    assert all(flow > 0 for flow in row.throughput.values())


def test_streams_that_fail_leave_the_rest_as_measured(
    make: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flow(self: Candidate, streams: int, seconds: float) -> None:
        raise WorkerError("out of memory")

    monkeypatch.setattr(Candidate, "flow", flow)
    row = bench(make("plain.onnx"), seconds=0.2, streams=(1,)).rows[0]
    assert (row.error, row.throughput) == ("", {})
    assert row.latency is not None


def test_candidates_that_cannot_be_opened_do_not_sink_the_others(
    make: MakeModel, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(make("whole.onnx").read_bytes()[:200])
    found = bench(damaged, make("a.onnx"), make("b.onnx"))
    assert [bool(row.error) for row in found.rows] == [True, False, False]
    assert found.baseline == "a.onnx"
    assert found.rows[2].ratio is not None
    assert found.rows[2].ratio.baseline == "a.onnx"


def test_a_candidate_that_dies_on_the_way_does_not_sink_the_others(
    make: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Candidate.turn

    def turn(self: Candidate, sample: int) -> None:
        if self.title == "first.onnx" and sample == 4:
            raise WorkerError("the worker crashed", hint="see the log")
        original(self, sample)

    monkeypatch.setattr(Candidate, "turn", turn)
    found = bench(make("first.onnx"), make("second.onnx"), make("third.onnx"))
    assert found.rows[0].error == "the worker crashed"
    assert found.rows[0].latency is None
    assert found.baseline == "second.onnx"
    assert found.rows[2].ratio is not None


def test_nothing_is_measured_where_nothing_can_be_read(tmp_path: Path) -> None:
    empty = tmp_path / "empty.onnx"
    empty.touch()
    with pytest.raises(InputError, match="empty"):
        bench(empty)
    with pytest.raises(UsageError, match="no file"):
        bench(tmp_path / "missing.onnx")
    with pytest.raises(UsageError, match="no model"):
        bench()


def test_open_axes_are_as_another_file_fixes_them(make: MakeModel) -> None:
    found = bench(make("open.onnx", ("n", 3, "h", "w")), make("fixed.onnx", (1, 3, 24, 24)))
    assert not any(row.error for row in found.rows)
    assert found.shapes == {"image": (1, 3, 24, 24)}


def test_shapes_that_the_user_gives_win(make: MakeModel) -> None:
    read = convkit.ReadOptions(shapes={"image": (1, 3, 40, 40)})
    found = bench(make("open.onnx", ("n", 3, "h", "w")), read=read)
    assert found.shapes == {"image": (1, 3, 40, 40)}
    with pytest.raises(UsageError, match="no input called"):
        bench(make("a.onnx"), read=convkit.ReadOptions(shapes={"picture": (1, 3, 40, 40)}))


def test_a_model_of_other_inputs_is_measured_on_its_own_and_a_note_says_so(make: MakeModel) -> None:
    found = bench(make("small.onnx"), make("large.onnx", (1, 3, 48, 48)))
    assert not any(row.error for row in found.rows)
    assert any("large.onnx takes other inputs" in note for note in found.notes)


def test_the_users_samples_are_run_and_must_fit(make: MakeModel, tmp_path: Path) -> None:
    import numpy as np

    path = tmp_path / "samples.npy"
    np.save(path, np.full((3, 3, 32, 32), np.nan, "float32"))
    with pytest.raises(UsageError, match="NaN"):
        bench(make("small.onnx"), inputs=path)
    np.save(path, np.zeros((3, 3, 32, 32), "float32"))
    found = bench(make("small.onnx"), make("large.onnx", (1, 3, 48, 48)), inputs=path)
    assert not found.rows[0].error
    assert "do not fit" in found.rows[1].error


def test_a_file_may_be_held_against_itself(make: MakeModel) -> None:
    model = make("one.onnx")
    found = bench(model, model, baseline="one.onnx #2", seconds=0.3)
    assert [row.title for row in found.rows] == ["one.onnx", "one.onnx #2"]
    assert found.baseline == "one.onnx #2"
    assert found.rows[0].ratio is not None


def test_settings_that_make_no_sense_are_refused_before_any_work(make: MakeModel) -> None:
    model = make("one.onnx")
    for wrong in (
        {"threads": -1},
        {"seconds": 0},
        {"rounds": 2},
        {"streams": (0,)},
        {"margin": 0},
        {"confidence": 1.0},
        {"baseline": "nobody"},
    ):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            bench(model, **wrong)


@pytest.mark.slow
def test_runtimes_of_all_formats_are_timed_side_by_side(tmp_path: Path) -> None:
    """The sample of the quick start: torch, ONNX Runtime, OpenVINO and LiteRT, on equal inputs."""
    torch = pytest.importorskip("torch")
    for name in ("convkit_onnx", "convkit_openvino", "convkit_litert"):
        pytest.importorskip(name)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3, stride=2), torch.nn.ReLU(), torch.nn.Conv2d(16, 16, 3)
    ).eval()
    program = torch.export.export(network, (torch.zeros(1, 3, 64, 64),))
    torch.export.save(program, tmp_path / "net.pt2")
    made = convkit.convert(
        tmp_path / "net.pt2", to=("onnx", "openvino", "tflite"), output_dir=tmp_path
    )
    found = convkit.bench([tmp_path / "net.pt2", *(o.path for o in made.outputs)], seconds=1.0)
    assert [row.error for row in found.rows] == [""] * 4
    assert {row.runner for row in found.rows} == {
        "torch.run",
        "onnxruntime.run",
        "openvino.run",
        "litert.run",
    }
    for row in found.rows:
        assert row.latency is not None
        assert row.load_seconds is not None
        assert row.load_seconds < 3  # importing torch takes longer than that on a busy machine
        assert row.throughput["1"] == pytest.approx(1 / row.latency.mean, rel=3)
