"""What the analyzer's search costs against NNCF's accuracy control and one layer at a time.

All begin with the same float model in the target's format, and have the same calibration data, the
same labelled data, the same metric and one thread. An evaluation is a pass over the whole labelled
data set with a quantized or half-quantized model; a pass over a part of it counts as that part, and
the analyzer's builds, which run on a few calibration samples, as theirs. convkit begins with an
empty cache, and its time includes starting its workers. A rival that is not done after `--cap`
seconds is stopped: what it took is then a lower bound.

How accurate both results are is told by running both files alike over the labelled data.

What takes seconds is at the mercy of whatever else the machine does: convkit and NNCF take turns,
`--rounds` times, and the medians are compared. One layer at a time takes minutes, and one turn.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import convkit
from convkit import AnalysisSettings
from convkit.api.analysis import COMPARED
from convkit.artifact import ReadOptions
from convkit.engine.sources import load
from convkit.engine.worker import Limits
from convkit.events import silent
from convkit.kit import DEFAULT_TIMEOUT, Kit
from tests.benchmarks.subjects import Difference, Judge
from tests.benchmarks.tasks import FRESH_SEED, Task, task

CAP = 1200.0
LIMITS = {"nncf": 5.0, "onnxruntime": 10.0}
"""How many times as much each rival must take, in evaluations and in time."""
ONCE = ("onnxruntime",)
"""Rivals that have one turn."""


@dataclass(frozen=True)
class Spent:
    """What one search took.

    Attributes:
        evaluations: passes over the labelled data.
        float_metric, metric: before and after; None where it did not get so far.
        full: what everything in integers loses, where that was measured.
        done: it was not stopped.
        file: the model that was found.
    """

    name: str
    evaluations: float
    seconds: float
    float_metric: float | None
    metric: float | None
    full: float | None
    done: bool
    file: Path | None = None

    def words(self) -> str:
        """One line."""
        bound = "" if self.done else ">= "
        found = "no result" if self.metric is None else f"{self.metric:.4f}"
        full = "" if self.full is None else f" (everything in integers loses {self.full:.4f})"
        return (
            f"{self.name:12} {bound}{self.evaluations:7.1f} evaluations, {bound}{self.seconds:7.1f}"
            f" s: {found}{full}"
        )


def main(arguments: Sequence[str] = ()) -> bool:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="cost")
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--to", default="onnx-int8", choices=("onnx-int8", "openvino-int8"))
    parser.add_argument("--max-drop", type=float, default=0.005)
    parser.add_argument("--cap", type=float, default=CAP)
    parser.add_argument("--rivals", default="")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fresh", type=int, help="score on so many fresh samples instead")
    options = parser.parse_args(arguments)
    rivals = ["nncf", "onnxruntime"] if options.to == "onnx-int8" else ["nncf"]
    rivals = options.rivals.split(",") if options.rivals else rivals
    subject = task(options.model)
    print(f"\ncost ({options.model} to {options.to}, at most {options.max_drop} lost)", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        if options.fresh:
            data = subject.fresh(Path(folder) / "fresh", options.fresh, FRESH_SEED)
            subject = replace(subject, data=data)
        plain, layers = _float(subject, options.to.partition("-")[0], Path(folder))
        print(f"  {layers} layers, {len(subject.samples())} samples")
        turns: dict[str, list[Spent]] = {name: [] for name in ("convkit", *rivals)}
        for number in range(options.rounds):
            cache = Path(folder) / f"cache {number}"
            turns["convkit"].append(_ours(subject, plain, options.to, options.max_drop, cache))
            for name in rivals if not number else [r for r in rivals if r not in ONCE]:
                turns[name].append(
                    _rival(name, subject, plain, options.max_drop, options.cap, Path(folder))
                )
        ours = _middle(turns["convkit"])
        print(f"  {ours.words()}{_spread(turns['convkit'])}", flush=True)
        rows = [asdict(ours)]
        holds = True
        for name in rivals:
            theirs = _middle(turns[name])
            fewer = theirs.evaluations / ours.evaluations
            less = theirs.seconds / ours.seconds
            enough = min(fewer, less) >= LIMITS[name]
            gap = _gap(subject, theirs.file, ours.file)
            accurate = gap is None or gap.value >= 0
            holds = holds and enough and accurate
            ahead = "" if gap is None else f"; {gap.value:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]"
            print(f"  {theirs.words()}{_spread(turns[name])}")
            print(
                f"    {fewer:.1f} x the evaluations, {less:.1f} x the time (at least"
                f" {LIMITS[name]:g}){ahead}; {'ok' if enough and accurate else 'MISSED'}",
                flush=True,
            )
            more = {"fewer": fewer, "less": less, "ahead": asdict(gap) if gap else None}
            rows.append({**asdict(theirs), **more})
    facts = {"benchmark": "cost", "to": options.to, "model": options.model, "rows": rows}
    print(json.dumps(facts, default=str))
    return holds


def _gap(subject: Task, theirs: Path | None, ours: Path | None) -> Difference | None:
    """How much more accurate ours is; None where there is nothing to compare it with."""
    if theirs is None or ours is None:
        return None
    kit = Kit()
    with kit, kit.session(silent, convkit.Settings(), Limits(DEFAULT_TIMEOUT)) as session:
        first, second = (
            load(session, path, kit.format_of(path, None), ReadOptions()) for path in (theirs, ours)
        )
        return Judge(session, subject, subject.data, first).difference(first, second)


def _middle(turns: Sequence[Spent]) -> Spent:
    """The turn that took the median time, the longer one of two."""
    return sorted(turns, key=lambda turn: turn.seconds)[len(turns) // 2]


def _spread(turns: Sequence[Spent]) -> str:
    """The times of all turns, in words."""
    times = ", ".join(f"{turn.seconds:.1f}" for turn in turns)
    return f" (turns: {times} s)" if len(turns) > 1 else ""


def _float(subject: Task, form: str, folder: Path) -> tuple[Path, int]:
    """The float model in the target's format, and how many layers it has."""
    made = convkit.convert(subject.model, to=form, output_dir=folder, name="float").outputs[0].path
    return made, len(convkit.inspect(made).layers)


def _ours(subject: Task, model: Path, to: str, max_drop: float, cache: Path) -> Spent:
    start = time.perf_counter()
    with Kit(cache=cache) as kit:
        given: dict[str, Any] = {
            "to": to,
            "calibration": subject.calibration,
            "data": subject.data,
            "metric": subject.metric,
            "analysis": AnalysisSettings(max_drop=max_drop, timing=False, ranking=False),
            "kit": kit,
        }
        report = convkit.analyze(model, settings=convkit.Settings(threads=1), **given)
        took = time.perf_counter() - start
        settings = convkit.Settings(verify=False, threads=1, exclude=("auto",))
        made = convkit.convert(  # finds in the store what the analysis built
            model, output_dir=cache.with_suffix(".made"), settings=settings, **given
        )
    few = COMPARED / len(subject.samples())
    return Spent(
        "convkit",
        report.cost.evaluations + report.cost.partial + report.cost.builds * few,
        took,
        report.float_metric,
        report.choice.metric,
        next((t.drop for t in report.trials if not t.float_layers), None),
        True,
        made.outputs[0].path,
    )


def _rival(
    name: str, subject: Task, model: Path, max_drop: float, cap: float, folder: Path
) -> Spent:
    """Run a rival in a process of its own, until it is done or its time is up."""
    spec, log = folder / f"{name}.json", folder / f"{name}.log"
    log.unlink(missing_ok=True)  # of an earlier turn
    spec.write_text(
        json.dumps(
            {
                "task": subject.name,
                "data": str(subject.data),
                "model": str(model),
                "max_drop": max_drop,
            }
        ),
        "utf-8",
    )
    command = [sys.executable, "-m", "tests.benchmarks.rivals", name, str(spec), str(log)]
    start = time.perf_counter()
    done = True
    with (folder / f"{name}.out").open("w+", encoding="utf-8") as said:
        try:
            code = subprocess.run(
                command, timeout=cap, stdout=said, stderr=subprocess.STDOUT, env=_environment(),
                check=False,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            done, code = False, 0
        if code:
            said.seek(0)
            raise SystemExit(f"{name} failed:\n{said.read()[-3000:]}")
    lines = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    scores: list[dict[str, Any]] = [line for line in lines if "share" in line]
    whole = [line for line in scores if line["share"] == 1.0]
    finished = [line for line in lines if line["what"] == "done"]
    return Spent(
        name,
        sum(line["share"] for line in scores),
        time.perf_counter() - start,
        whole[0]["metric"] if whole else None,
        whole[-1]["metric"] if finished else None,
        None,
        done,
        Path(finished[0]["file"]) if finished else None,
    )


def _environment() -> dict[str, str]:
    """As convkit's workers have it."""
    return {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
