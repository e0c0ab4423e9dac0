"""What is left of a detector's accuracy and of int8's speed: the analyzer against hand lists.

The analyzer chooses on the sample's 200 labelled scenes; everything is judged on 1,000 scenes that
nothing was chosen by (`--scenes`), with a paired bootstrap, and timed together by `convkit bench`.
It chooses the cheapest that loses no more than `--max-drop`, and, for each hand list, the most
accurate that takes no more time than that. The former is held against (a) everything in integers;
the latter, or the former where nothing so fast is accurate enough, against (b) the whole head in
float, as most recipes on the web have it; (c) the list of a published write-up about YOLOv8n in
ONNX Runtime: with its options, its calibration (one picture, channels as OpenCV reads them) and the
comma that is missing between two of its names; and with both put right.

A list that loses nothing cannot be beaten by labels. Where a rival's loss has zero in its interval,
the choice must not be told to be behind it by the labels, and must be closer to what the float
model itself detects (mAP against those detections); the line says which rule it was judged by.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import convkit
from convkit import AnalysisSettings
from convkit.artifact import ReadOptions
from convkit.benchmark import Benchmark, BenchmarkRow, SpeedRatio
from convkit.engine.session import Found
from convkit.engine.sources import load
from convkit.engine.worker import Limits
from convkit.errors import ConvkitError
from convkit.events import silent
from convkit.kit import DEFAULT_TIMEOUT, Kit
from convkit.sensitivity import Sensitivity
from tests.benchmarks.rivals import Reader
from tests.benchmarks.subjects import Difference, Judge
from tests.benchmarks.tasks import FRESH_SEED, Sample, Task, task

TARGETS = ("onnx-int8", "openvino-int8", "tflite-int8")
MODELS = ("bundled", "yolov8n")
HEADS = {"bundled": ("head8", "head16", "decode"), "yolov8n": ("model.22",)}
"""Modules that make the head of each model, its post-processing included."""
OURS = "analyzer"
"""The choice by accuracy; those by time are called after their rival."""
FULL = "(a) everything"
PLAIN = convkit.Settings(verify=False)
FRESH = 1000
MAX_LOSS, MIN_GAIN_KEPT = 0.005, 0.8
GAIN = 0.97
"""int8 is faster where it takes less than this share of float's time."""

PUBLISHED = (
    "Concat_3", "Split", "Sigmoid", "dfl/Reshape", "dfl/Transpose", "dfl/Softmax", "dfl/conv/Conv",
    "dfl/Reshape_1", "Slice_1", "Slice", "Add_1", "Sub", "Div_1", "Concat_4", "Mul_2", "Concat_5",
)  # fmt: skip
"""All under `HEAD`."""
HEAD = "/model.22/"
JOINED = ("Sigmoid", "dfl/Reshape")
"""Two of them run together: a comma is missing between."""


@dataclass(frozen=True)
class Row:
    """One file.

    Attributes:
        loss: of mAP against the original, with its 95 % interval.
        time: over the float file's, `time_low` and `time_high` bound it.
    """

    name: str
    metric: float
    loss: float
    loss_low: float
    loss_high: float
    time: float | None
    time_low: float | None
    time_high: float | None
    size: int
    note: str = ""

    def words(self) -> str:
        """One line."""
        time = "no time" if self.time is None else f"{self.time:.3f} of float's time"
        return (
            f"{self.name:24} mAP {self.metric:.4f}, loss {self.loss:+.4f}"
            f" [{self.loss_low:+.4f}, {self.loss_high:+.4f}], {time}, {self.size / 1e6:.2f} MB"
            f" {self.note}"
        )


def main(arguments: Sequence[str] = ()) -> bool:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="quality")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--targets", default=",".join(TARGETS))
    parser.add_argument("--max-drop", type=float, default=0.004)
    parser.add_argument("--budget", type=int, default=40)
    parser.add_argument("--seed", type=int, default=FRESH_SEED, help="of the fresh scenes")
    parser.add_argument("--scenes", type=int, default=FRESH)
    options = parser.parse_args(arguments)
    scenes = options.scenes
    print(f"\nquality (coco-map on {scenes} fresh scenes, 95 % paired bootstrap)", flush=True)
    found = []
    asked = AnalysisSettings(max_drop=options.max_drop, budget=options.budget, timing=False)
    with Kit() as kit, tempfile.TemporaryDirectory() as folder:
        for name in options.models.split(","):
            subject = task(name)
            data = subject.fresh(Path(folder) / name / "scenes", scenes, options.seed)
            for target in options.targets.split(","):
                place = Path(folder) / name / target
                found.append(_compared(kit, subject, target, data, place, asked))
    print(json.dumps({"benchmark": "quality", "rows": found}), flush=True)
    return all(verdict for entry in found for verdict in entry["verdicts"].values())


def _compared(
    kit: Kit, subject: Task, target: str, data: Path, folder: Path, asked: AnalysisSettings
) -> dict[str, Any]:
    files = {"float": _converted(kit, subject, target.partition("-")[0], folder / "float", PLAIN)}
    for name, make in _makers(kit, subject, target, folder, files["float"]).items():
        try:
            files[name] = make()
        except ConvkitError as error:
            print(f"  {name}: {error.message}", flush=True)
    rivals = [name for name in files if name.startswith(("(b)", "(c)"))]
    times = _beside({name: files[name] for name in ("float", *rivals)})
    settings = {OURS: asked}
    for name in rivals:
        settings[_within(name)] = replace(asked, max_drop=None, max_time=times[name].value)
    reports = {}
    for name, analysis in settings.items():
        place = folder / f"choice {len(reports)}"
        files[name], reports[name] = _chosen(kit, subject, target, place, analysis)
        print(f"  {subject.name} to {target}, {name}: {reports[name].notes[0]}", flush=True)
    benchmark = convkit.bench(list(files.values()), baseline="", seconds=5.0)
    held = {r: _within(r) if reports[_within(r)].reached else OURS for r in rivals}
    rows, verdicts = _judged(kit, subject, data, files, held, benchmark)
    for row in rows.values():
        print(f"    {row.words()}")
    for claim, holds in verdicts.items():
        print(f"    {'ok    ' if holds else 'MISSED'} {claim}", flush=True)
    return {
        "model": subject.name,
        "target": target,
        "builds": {name: report.cost.builds for name, report in reports.items()},
        "evaluations": {name: report.cost.evaluations for name, report in reports.items()},
        "kept": {name: list(report.choice.regions) for name, report in reports.items()},
        "rows": [asdict(row) for row in rows.values()],
        "verdicts": verdicts,
    }


def _within(rival: str) -> str:
    """What the choice is called that takes no more time than a rival."""
    return f"{OURS} as fast as {rival}"


def _makers(
    kit: Kit, subject: Task, target: str, folder: Path, plain: Path
) -> dict[str, Callable[[], Path]]:
    """What the analyzer is compared with, by name."""
    quiet = convkit.Settings(verify=False, keep_float="none")
    head = convkit.Settings(verify=False, exclude=HEADS[subject.name])
    makers = {
        FULL: lambda: _converted(kit, subject, target, folder / "everything", quiet),
        "(b) head in float": lambda: _converted(kit, subject, target, folder / "head", head),
    }
    if subject.name == "yolov8n" and target == "onnx-int8":
        samples = subject.calibration_samples()
        one = [(samples[0][0][:, ::-1].copy(),)]
        makers["(c) as written"] = lambda: _published(plain, folder / "written", one, _as_written)
        makers["(c) corrected"] = lambda: _published(plain, folder / "right", samples, _corrected)
    return makers


def _chosen(
    kit: Kit, subject: Task, target: str, folder: Path, analysis: AnalysisSettings
) -> tuple[Path, Sensitivity]:
    result = convkit.convert(
        subject.model,
        to=target,
        calibration=subject.calibration,
        output_dir=folder,
        settings=convkit.Settings(verify=False, exclude=("auto",)),
        kit=kit,
        data=subject.data,
        metric=subject.metric,
        analysis=analysis,
    )
    return result.outputs[0].path, result.analyses[0]


def _converted(
    kit: Kit, subject: Task, target: str, folder: Path, settings: convkit.Settings
) -> Path:
    result = convkit.convert(
        subject.model,
        to=target,
        calibration=subject.calibration if "-" in target else None,
        output_dir=folder,
        settings=settings,
        kit=kit,
    )
    return result.outputs[0].path


def _published(
    plain: Path, folder: Path, samples: Sequence[Sample], spared: Callable[[list[str]], list[str]]
) -> Path:
    """By ONNX Runtime's own tool, with the options of the write-up.

    Args:
        spared: which of the model's nodes stay in float.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quant_pre_process, quantize_static

    ready, made = folder / "ready.onnx", folder / "model-int8.onnx"
    folder.mkdir(parents=True, exist_ok=True)
    quant_pre_process(str(plain), str(ready))
    graph = onnx.load(str(ready)).graph
    quantize_static(
        str(ready),
        str(made),
        Reader([graph.input[0].name], samples),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=False,
        reduce_range=True,
        nodes_to_exclude=spared([node.name for node in graph.node]),
    )
    return made


def _as_written(nodes: list[str]) -> list[str]:
    """The list with two of its names run together; ONNX Runtime is silent about what means
    nothing, and so about names that ultralytics has changed since."""
    wanted = [f"{HEAD}{name}" for name in PUBLISHED]
    at = PUBLISHED.index(JOINED[0])
    wanted[at : at + 2] = ["".join(f"{HEAD}{name}" for name in JOINED)]
    missing = [name for name in wanted if name not in nodes]
    print(f"    of the published list, {len(missing)} of {len(wanted)} mean nothing: {missing}")
    return [name for name in wanted if name in nodes]


def _corrected(nodes: list[str]) -> list[str]:
    """What the list means: all that follows the head's convolutions, as it is called today."""
    return [n for n in nodes if n.startswith(HEAD) and not n.startswith(f"{HEAD}cv")]


def _judged(
    kit: Kit,
    subject: Task,
    data: Path,
    files: Mapping[str, Path],
    held: Mapping[str, str],
    benchmark: Benchmark,
) -> tuple[dict[str, Row], dict[str, bool]]:
    """All files against the original, and what must hold.

    Args:
        held: the choice that each rival is held against.
    """
    with kit.session(silent, convkit.Settings(), Limits(DEFAULT_TIMEOUT)) as session:
        form = kit.format_of(subject.model, None)
        source = load(session, subject.model, form, ReadOptions())
        judge = Judge(session, subject, data, source)
        loaded = {
            name: load(session, path, kit.format_of(path, None), ReadOptions())
            for name, path in files.items()
        }
        rows = {
            name: _row(name, judge.difference(source, found), found, timed, benchmark)
            for (name, found), timed in zip(loaded.items(), benchmark.rows, strict=True)
        }
        said = _promises(rows)
        for rival, ours in held.items():
            ratio = _beside({name: files[name] for name in (rival, ours)})[ours]
            ahead = judge.difference(loaded[rival], loaded[ours])
            closer = judge.closer(source, loaded[rival], loaded[ours])
            said[f"not slower than {rival}: {_span(ratio)} of its time"] = ratio.verdict != "slower"
            said |= _ahead(rows[rival], ahead, closer)
    return rows, said


def _ahead(rival: Row, labels: Difference, closer: Difference) -> dict[str, bool]:
    """Whether a choice is more accurate than a rival: by the labels where they show that the rival
    loses anything, else by what the float model detects."""
    by_labels = f"more accurate than {rival.name}: {_span(labels, '+')}"
    by_float = f"closer to float than {rival.name}: {_span(closer, '+')}"
    if rival.loss_low > 0:
        return {by_labels: labels.value > 0, by_float: closer.value > 0}
    lost = f"which loses {rival.loss:+.4f} [{rival.loss_low:+.4f}, {rival.loss_high:+.4f}]"
    tie = f"not behind {rival.name}, {lost}, by labels: {_span(labels, '+')}"
    return {tie: labels.high >= 0, by_float: closer.value > 0}


def _span(found: SpeedRatio | Difference, sign: str = "") -> str:
    digits = 4 if sign else 3
    value, low, high = (f"{x:{sign}.{digits}f}" for x in (found.value, found.low, found.high))
    return f"{value} [{low}, {high}]"


def _row(
    name: str, gap: Difference, found: Found, timed: BenchmarkRow, benchmark: Benchmark
) -> Row:
    ratio = timed.ratio
    return Row(
        name,
        gap.second,
        -gap.value,
        -gap.high,
        -gap.low,
        1.0 if timed.title == benchmark.baseline else None if ratio is None else ratio.value,
        None if ratio is None else ratio.low,
        None if ratio is None else ratio.high,
        found.artifact.size_bytes,
        timed.error,
    )


def _beside(files: Mapping[str, Path]) -> dict[str, SpeedRatio]:
    """Times over the first one's, by name; `bench` calls equal what is within 3 %."""
    rows = convkit.bench(list(files.values()), baseline="", seconds=5.0).rows
    found = {name: row.ratio for name, row in zip(files, rows, strict=True)}
    return {name: ratio for name, ratio in found.items() if ratio is not None}


def _promises(rows: Mapping[str, Row]) -> dict[str, bool]:
    """What must hold of the choice by accuracy."""
    ours, full = rows[OURS], rows[FULL]
    said = {f"within {MAX_LOSS} of float": ours.loss <= MAX_LOSS}
    if full.time is not None and ours.time is not None and full.time < GAIN:
        kept = (1 - ours.time) / (1 - full.time)
        said[f"at least {MIN_GAIN_KEPT:.0%} of int8's gain in time ({kept:.0%})"] = (
            kept >= MIN_GAIN_KEPT
        )
    said["more accurate than everything in integers, or both within the limit"] = (
        ours.metric > full.metric or max(ours.loss, full.loss) <= MAX_LOSS
    )
    return said
