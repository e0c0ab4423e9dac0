"""The main job through the Python interface, with the real plugins and the bundled sample."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import convkit
from convkit import Settings
from convkit.codec import encode
from convkit.errors import UsageError
from convkit.events import Event, StageFinished, StageStarted
from convkit.manifest import manifest_path
from convkit.results import ConversionResult

pytest.importorskip("torch")

import numpy as np
import torch

REPOSITORY = Path(__file__).resolve().parent.parent
METRIC = "coco-map"
PLAIN = "tflite-int8, everything in integers"


class Recorder:
    """A listener that pairs the starts of stages with their ends."""

    def __init__(self) -> None:
        self._titles: dict[str, str] = {}
        self.stages: list[tuple[str, str]] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, StageStarted):
            self._titles[event.key] = event.title
        elif isinstance(event, StageFinished):
            self.stages.append((self._titles.pop(event.key), event.outcome))

    def outcomes(self, converter: str) -> list[str]:
        """What became of the hops of a converter, in order."""
        return [outcome for title, outcome in self.stages if title.endswith(f" by {converter}")]

    @property
    def open(self) -> list[str]:
        """Stages that never ended."""
        return list(self._titles.values())


def private_paths(*folders: Path) -> list[str]:
    """Folders of this machine that nothing that travels may name."""
    own = (REPOSITORY, Path.home(), Path(os.environ["CONVKIT_CACHE"]), *folders)
    return [str(p) for p in own if len(p.parts) > 1]


def assert_tells_nothing(output: Path, *folders: Path) -> None:
    """No private path in an output's bytes nor in its manifest."""
    for path in (output, manifest_path(output)):
        content = path.read_bytes()
        for place in private_paths(*folders):
            assert place.encode() not in content, f"{path.name} names {place}"


@pytest.fixture(scope="module")
def stages() -> Recorder:
    return Recorder()


@pytest.fixture(scope="module")
def short_road(
    sample: Path, kit: convkit.Kit, stages: Recorder, tmp_path_factory: pytest.TempPathFactory
) -> ConversionResult:
    """The main job, once, with its scoreboard."""
    return convkit.convert(
        sample / "model.pt2",
        to="tflite-int8",
        calibration=sample / "calibration",
        data=sample / "validation",
        metric=METRIC,
        output_dir=tmp_path_factory.mktemp("short"),
        listener=stages,
        kit=kit,
    )


def test_the_short_road_is_taken_and_verified(
    short_road: ConversionResult, stages: Recorder
) -> None:
    assert short_road.path.name == "model-int8.tflite"
    assert [h.converter for h in short_road.manifest.hops] == [
        "litert-torch.tflite",
        "ai-edge-quantizer.int8",
    ]
    assert not short_road.failed
    assert short_road.verification is not None
    assert short_road.verification.verdict == "ok"
    assert short_road.verification.against == "original"
    assert not short_road.verification.synthetic
    for hop in short_road.manifest.hops:
        assert hop.verification is not None
        assert hop.verification.verdict == "ok"
        assert len(hop.verification.slices) == 2, "boxes and scores are judged apart"
    assert not stages.open


def test_the_result_is_int8_by_inspection(short_road: ConversionResult) -> None:
    found = convkit.inspect(short_road.path)
    assert str(found.state) == "tflite-int8"
    assert found.macs > 0
    assert found.integer_macs >= 0.9 * found.macs
    assert short_road.manifest.precision == "int8"
    assert short_road.manifest.integer_macs == found.integer_macs / found.macs


def test_the_result_is_small_and_still_detects(short_road: ConversionResult) -> None:
    board = short_road.scoreboard
    assert board is not None
    assert board.metric == METRIC
    value = {title: row.value for title, row in board.rows.items()}
    assert value["torch (original)"] >= 0.60
    assert value["tflite"] == pytest.approx(value["torch (original)"], abs=1e-3)
    assert abs(value["tflite-int8"] - value["torch (original)"]) <= 0.02
    assert board.sizes["tflite-int8"] <= 0.30 * board.sizes["tflite"]
    assert board.sizes["tflite-int8"] == short_road.path.stat().st_size
    assert value[PLAIN] < value["tflite-int8"] - 0.05, "plain int8 must visibly hurt the sample"
    assert board.rows["tflite-int8"].samples == 200
    assert board.picture is not None
    assert board.picture.read_bytes().startswith(b"\x89PNG")


def test_everything_in_integers_is_visibly_worse(
    sample: Path, short_road: ConversionResult, tmp_path: Path
) -> None:
    plain = convkit.convert(
        sample / "model.pt2",
        to="tflite-int8",
        calibration=sample / "calibration",
        output_dir=tmp_path,
        settings=Settings(keep_float="none"),
    )
    assert plain.verification is not None
    assert short_road.verification is not None
    assert plain.verification.sqnr_db < short_road.verification.sqnr_db - 6
    assert plain.path.read_bytes() != short_road.path.read_bytes()
    assert plain.manifest.float_islands == 0
    assert short_road.manifest.float_islands
    recipe = short_road.manifest.hops[-1].recipe
    assert recipe is not None
    assert recipe.rules
    assert all(rule.reason for rule in recipe.rules)


def test_the_manifest_tells_the_whole_story(short_road: ConversionResult, sample: Path) -> None:
    import json

    document = json.loads(manifest_path(short_road.path).read_text())
    assert document["content"]
    assert {k: v for k, v in document.items() if k != "content"} == encode(short_road.manifest)
    assert document["source_name"] == "model.pt2"
    assert document["path"] == "torch -> tflite -> tflite-int8"
    assert document["calibration"]["count"] == len(list((sample / "calibration").glob("*.jpg")))
    assert document["calibration"]["source"] == "calibration"
    assert "160x160" in document["calibration"]["transform"].replace(" ", "")
    assert document["hops"][1]["versions"]["ai-edge-quantizer"]
    assert document["metrics"][METRIC]["value"] > 0.6
    assert not document["failed"]
    assert not document["notes"]


def test_nothing_private_travels(short_road: ConversionResult, sample: Path) -> None:
    assert_tells_nothing(short_road.path, sample, short_road.path.parent)


def test_the_second_run_comes_from_the_store(
    sample: Path, short_road: ConversionResult, tmp_path: Path
) -> None:
    again = Recorder()
    second = convkit.convert(
        sample / "model.pt2",
        to="tflite-int8",
        calibration=sample / "calibration",
        output_dir=tmp_path,
        listener=again,
    )
    assert second.path.read_bytes() == short_road.path.read_bytes()
    assert all(outcome == "cached" for _, outcome in again.stages), again.stages
    assert all(hop.cached for hop in second.manifest.hops)


def test_two_runs_from_nothing_give_the_same_bytes(
    sample: Path, short_road: ConversionResult, empty_cache: Path, tmp_path: Path
) -> None:
    """Without the kit: in processes of its own."""
    again = convkit.convert(
        sample / "model.pt2",
        to="tflite-int8",
        calibration=sample / "calibration",
        output_dir=tmp_path,
        settings=Settings(verify_samples=2),
    )
    assert not any(hop.cached for hop in again.manifest.hops)
    assert again.path.read_bytes() == short_road.path.read_bytes()


def test_integers_at_both_ends(
    short_road: ConversionResult, sample: Path, kit: convkit.Kit, tmp_path: Path
) -> None:
    """Real numbers go into a file that takes integers, for the verification as for the metric."""
    made = convkit.convert(
        sample / "model.pt2",
        to="tflite-int8",
        calibration=sample / "calibration",
        steering=convkit.Steering(options={"ai-edge-quantizer.int8.io": "integer"}),
        output_dir=tmp_path,
        kit=kit,
    )
    assert [s.dtype for s in convkit.inspect(made.path).inputs] == ["int8"]
    integer, floating = made.manifest.hops[-1], short_road.manifest.hops[-1]
    assert integer.verification is not None and floating.verification is not None
    assert integer.verification.verdict == floating.verification.verdict
    assert abs(integer.verification.sqnr_db - floating.verification.sqnr_db) < 1


def test_an_integer_file_goes_on_in_float(
    short_road: ConversionResult, sample: Path, kit: convkit.Kit, tmp_path: Path
) -> None:
    made = convkit.convert(
        short_road.path,
        to="onnx",
        calibration=sample / "calibration",
        data=sample / "validation",
        metric=METRIC,
        output_dir=tmp_path,
        kit=kit,
    )
    assert [hop.converter for hop in made.manifest.hops] == [
        "litert.dequantize",
        "tf2onnx.from-tflite",
    ]
    assert all(h.verification and h.verification.verdict == "ok" for h in made.manifest.hops)
    assert made.scoreboard is not None
    before, after = (made.scoreboard.rows[k].value for k in ("tflite-int8 (original)", "onnx"))
    assert after == pytest.approx(before, abs=0.02)


class Net(torch.nn.Module):
    """A small classifier, big enough that quantizing it makes it smaller."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(3, 16, 3, padding=1)
        self.second = torch.nn.Conv2d(16, 32, 3, stride=2, padding=1)
        self.head = torch.nn.Linear(32 * 8 * 8, 10)

    def forward(self, image: Any) -> Any:
        hidden = torch.relu(self.second(torch.relu(self.first(image))))
        return self.head(hidden.flatten(1))


FOUR = ("tflite", "tflite-fp16", "tflite-int8-dynamic", "tflite-int8")


@pytest.fixture(scope="module")
def siblings(
    kit: convkit.Kit, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ConversionResult, Recorder, list[Any]]:
    """A live module to four targets at once, calibrated from a DataLoader."""
    torch.manual_seed(7)
    images = torch.randn(24, 3, 16, 16)
    labels = torch.zeros(24, dtype=torch.int64)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(images, labels), batch_size=4
    )
    drawn: list[Any] = []

    def pixels(batch: Sequence[Any]) -> Any:
        drawn.append(batch[1])
        return batch[0]

    recorder = Recorder()
    with pytest.MonkeyPatch.context() as patch:  # hops are counted: nothing may be there yet
        patch.setattr(kit, "cache", tmp_path_factory.mktemp("store"))
        result = convkit.convert(
            Net().eval(),
            example_inputs=(torch.zeros(1, 3, 16, 16),),
            to=FOUR,
            name="net",
            calibration=loader,
            transform_fn=pixels,
            output_dir=tmp_path_factory.mktemp("siblings"),
            listener=recorder,
            kit=kit,
        )
    return result, recorder, drawn


def test_several_targets_share_their_hops(
    siblings: tuple[ConversionResult, Recorder, list[Any]],
) -> None:
    result, stages, _ = siblings
    assert stages.outcomes("litert-torch.tflite") == ["done", "cached", "cached", "cached"]
    for quantizer in ("fp16", "dynamic", "int8"):
        assert stages.outcomes(f"ai-edge-quantizer.{quantizer}") == ["done"]
    assert [str(o.state) for o in result.outputs] == list(FOUR)
    assert [o.path.name for o in result.outputs] == [
        "net.tflite",
        "net-fp16.tflite",
        "net-int8-dynamic.tflite",
        "net-int8.tflite",
    ]


def test_each_precision_is_what_it_says(
    siblings: tuple[ConversionResult, Recorder, list[Any]],
) -> None:
    sizes = {}
    for output in siblings[0].outputs:
        assert output.verification is not None
        assert output.verification.verdict == "ok", output.state
        assert convkit.inspect(output.path).state == output.state
        assert_tells_nothing(output.path, output.path.parent.parent)
        sizes[str(output.state)] = output.size_bytes
    assert sizes["tflite-fp16"] < 0.6 * sizes["tflite"]
    assert sizes["tflite-int8-dynamic"] < 0.4 * sizes["tflite"]
    assert sizes["tflite-int8"] < 0.4 * sizes["tflite"]


def test_a_loader_is_drained_once_and_batch_by_batch(
    siblings: tuple[ConversionResult, Recorder, list[Any]],
) -> None:
    result, _, drawn = siblings
    assert len(drawn) == 6
    record = result.outputs[-1].manifest.calibration
    assert record is not None
    assert record.count == 24
    assert result.outputs[0].manifest.calibration is None, "fp32 was not calibrated"


@pytest.mark.parametrize("name", ["path", "plan", "verification", "manifest"])
def test_there_is_no_one_path_of_several_outputs(
    siblings: tuple[ConversionResult, Recorder, list[Any]], name: str
) -> None:
    with pytest.raises(UsageError, match="there are 4 outputs") as error:
        getattr(siblings[0], name)
    assert "result.outputs" in error.value.hint


class TwoEnds(torch.nn.Module):
    """Names sort against the order, in and out; a swap changes shapes and values."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = torch.nn.Linear(12, 5)
        self.slim = torch.nn.Linear(4, 7)

    def forward(self, zebra: Any, apple: Any) -> dict[str, Any]:
        wide, slim = self.wide(zebra), self.slim(apple)
        return {"yield_": torch.tanh(wide) + slim.mean(), "bias_": slim * 3 + wide.sum()}


class Reader:
    """Shaped as an ONNX Runtime CalibrationDataReader; its dictionaries are ordered otherwise."""

    def __init__(self, samples: Sequence[Mapping[str, Any]]) -> None:
        self._samples: Iterator[Mapping[str, Any]] = iter(samples)

    def get_next(self) -> Mapping[str, Any] | None:
        return next(self._samples, None)


def test_two_inputs_and_outputs_keep_their_order(kit: convkit.Kit, tmp_path: Path) -> None:
    torch.manual_seed(11)
    module = TwoEnds().eval()
    generator = np.random.default_rng(3)
    feeds = [
        {
            "apple": generator.standard_normal((1, 4), np.float32),
            "zebra": generator.standard_normal((1, 12), np.float32),
        }
        for _ in range(12)
    ]
    result = convkit.convert(
        module,
        example_inputs=(torch.zeros(1, 12), torch.zeros(1, 4)),
        to=("onnx", "tflite", "tflite-int8"),
        name="ends",
        calibration=Reader(feeds),
        output_dir=tmp_path,
        kit=kit,
    )
    onnx, tflite, int8 = result.outputs
    for output in result.outputs:
        assert output.verification is not None
        assert output.verification.verdict == "ok", output.state
        assert [s.shape for s in output.manifest.inputs] == [(1, 12), (1, 4)]
        assert [s.shape for s in output.manifest.outputs] == [(1, 5), (1, 7)]
        assert_tells_nothing(output.path, tmp_path)
    assert [s.name for s in onnx.manifest.inputs] == ["zebra", "apple"]
    assert int8.manifest.calibration is not None
    assert int8.manifest.calibration.count == 12

    with torch.no_grad():
        wanted = module(
            torch.from_numpy(feeds[0]["zebra"]), torch.from_numpy(feeds[0]["apple"])
        ).values()
    inputs = [feeds[0]["zebra"], feeds[0]["apple"]]
    for got in (_by_onnxruntime(onnx, inputs), _by_litert(tflite, inputs)):
        for one, other in zip(got, wanted, strict=True):
            np.testing.assert_allclose(one, other.numpy(), atol=1e-5)


def _by_onnxruntime(output: Any, inputs: Sequence[Any]) -> list[Any]:
    """Run it by the names of its manifest, without convkit."""
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(output.path, providers=["CPUExecutionProvider"])
    names = [s.name for s in output.manifest.inputs]
    feed = dict(zip(names, inputs, strict=True))
    answer: list[Any] = session.run([s.name for s in output.manifest.outputs], feed)
    return answer


def _by_litert(output: Any, inputs: Sequence[Any]) -> list[Any]:
    """As `_by_onnxruntime`: the manifest's order is the source's, the file's may be another."""
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    interpreter = litert.Interpreter(str(output.path), num_threads=1)
    interpreter.allocate_tensors()
    places = {d["name"]: d["index"] for d in interpreter.get_input_details()}
    for spec, value in zip(output.manifest.inputs, inputs, strict=True):
        interpreter.set_tensor(places[spec.name], value)
    interpreter.invoke()
    places = {d["name"]: d["index"] for d in interpreter.get_output_details()}
    return [interpreter.get_tensor(places[s.name]) for s in output.manifest.outputs]
