"""Whether `convkit bench` finds what each runtime's own tool finds: `agreement [--turns 7]`.

OpenVINO has `benchmark_app`; the others a plain loop by hand. One thread, on the same core, the
same models; convkit and the tools have their turns one after the other, several times. On a quiet
machine the medians are compared. On a busy one a tool that runs without a break is held up far more
often than one that has turns; there it is what inferences take without waiting for a processor, and
the fastest inference of `benchmark_app`, which tells no more.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import convkit
import convkit_samples
from convkit.analysis.machine import cores_for, usable_cores
from convkit.benchmark import Benchmark
from tests.benchmarks.measure import BIN

HOME = Path("build") / "agreement"
SAMPLE = Path(convkit_samples.__file__).parent / "data" / "digits-yolo" / "model.pt2"
SECONDS = 2.0
WITHIN = 0.10
QUIET = 0.05
"""Medians that lie so much above the medians without waiting, at most, are of a quiet machine."""

Figures = dict[str, float]


def main(arguments: Sequence[str] = ()) -> bool:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="agreement")
    parser.add_argument("--turns", type=int, default=7)
    given = parser.parse_args(arguments)
    models = _models()
    ours: dict[str, list[Figures]] = {kind: [] for kind in models}
    theirs: dict[str, list[Figures]] = {kind: [] for kind in models}
    for _ in range(given.turns):
        found = convkit.bench(list(models.values()), seconds=SECONDS, streams=())
        for kind, path in models.items():
            ours[kind].append(_ours(found, path))
            theirs[kind].append(_theirs(kind, path))
    holds = True
    rows = {}
    print(f"\nagreement with each runtime's own tool ({given.turns} turns, 1 thread)")
    for kind in models:
        busy = statistics.median(f["median"] / f["own"] for f in ours[kind]) > 1 + QUIET
        figure = "median"
        if busy:
            figure = "own" if "own" in theirs[kind][0] else "minimum"
        pairs = [(a[figure], b[figure]) for a, b in zip(ours[kind], theirs[kind], strict=True)]
        if figure == "minimum":  # the fastest of all turns is the least disturbed one
            pairs = [(min(a for a, _ in pairs), min(b for _, b in pairs))]
        a, b = (statistics.median(values) for values in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        agrees = abs(ratio - 1) <= WITHIN
        holds = holds and agrees
        rows[kind] = {"figure": figure, "convkit": a, "tool": b, "ratio": ratio, "agrees": agrees}
        tool = "benchmark_app" if kind == "openvino" else "a plain loop"
        print(
            f"  {kind:9} {figure:8} convkit {1e3 * a:7.3f} ms  {tool:13} {1e3 * b:7.3f} ms  "
            f"ratio {ratio:.3f}  {'ok' if agrees else 'APART'}"
        )
    print(json.dumps({"benchmark": "agreement", "rows": rows, "within": WITHIN, "holds": holds}))
    return holds


def _models() -> dict[str, Path]:
    paths = {
        "onnx": HOME / "model.onnx",
        "openvino": HOME / "model.xml",
        "tflite": HOME / "model.tflite",
    }
    if not all(path.exists() for path in paths.values()):
        convkit.convert(SAMPLE, to=list(paths), output_dir=HOME)
    return {"torch": SAMPLE, **paths}


def _ours(found: Benchmark, path: Path) -> Figures:
    row = next(row for row in found.rows if Path(row.path) == path.resolve())
    if row.latency is None:
        raise SystemExit(f"{row.title}: {row.error}")
    latency = row.latency
    return {"median": latency.median, "minimum": latency.minimum, "own": latency.own}


def _theirs(kind: str, path: Path) -> Figures:
    if kind != "openvino":
        module = "tests.benchmarks.by_hand.loops"
        answer = _pinned([sys.executable, "-m", module, kind, str(path), str(SECONDS)])
        figures: Figures = json.loads(answer.splitlines()[-1])
        return figures
    # float32, as convkit's runner has it; one stream and one thread; no break between inferences
    options = "-d CPU -api sync -hint none -nstreams 1 -nthreads 1 -infer_precision f32"
    answer = _pinned(
        [str(BIN / "benchmark_app"), "-m", str(path), *options.split(), "-t", f"{SECONDS:.0f}"]
    )
    wanted = {"median": "Median", "minimum": "Min"}
    return {key: _milliseconds(answer, word) for key, word in wanted.items()}


def _milliseconds(text: str, word: str) -> float:
    match = re.search(rf"{word}:\s+([\d.]+) ms", text)
    if match is None:
        raise SystemExit(f"benchmark_app does not tell its {word}:\n{text[-2000:]}")
    return float(match.group(1)) / 1e3


def _pinned(command: Sequence[str]) -> str:
    cores = cores_for(1, usable_cores())

    def pin() -> None:
        if cores:
            os.sched_setaffinity(0, cores)

    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=pin, check=False)
    if done.returncode:
        raise SystemExit(f"{command} failed:\n{done.stderr[-2000:]}{done.stdout[-2000:]}")
    return done.stdout
