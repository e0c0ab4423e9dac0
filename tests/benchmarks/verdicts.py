"""How often `convkit bench` is right on a loaded machine: `verdicts [--runs 100] [--fresh]`.

A model is held against a copy of itself (no verdict but `equal` and `cannot tell` is right) and
against itself with every inference made 10 % longer (only `slower` is right). Each run starts its
own processes and its own random order; the machine is kept busy all the while. Runs are appended to
a file, and a run of this script goes on where the last one stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import convkit
import convkit_samples
from convkit.api.benchmark import bench
from tests.benchmarks import slowed
from tests.benchmarks.load import background_load
from tests.support.results import read

HOME = Path("build") / "verdicts"
RESULTS = HOME / "results.jsonl"
SAMPLE = Path(convkit_samples.__file__).parent / "data" / "digits-yolo" / "model.pt2"
FACTOR = 1.10
SECONDS = 3.0
NEEDED = 0.95
RIGHT = {"copy": {"equal", "cannot tell"}, "slowed": {"slower"}}


def main(arguments: Sequence[str] = ()) -> bool:
    """Run what is missing, print the counts."""
    parser = argparse.ArgumentParser(prog="verdicts")
    parser.add_argument("--runs", type=int, default=100, help="of each kind")
    parser.add_argument("--fresh", action="store_true", help="forget earlier runs")
    given = parser.parse_args(arguments)
    HOME.mkdir(parents=True, exist_ok=True)
    if given.fresh:
        RESULTS.unlink(missing_ok=True)
    done = {(row["kind"], row["seed"]) for row in read(RESULTS)}
    model, rivals = _models()
    todo = [(k, s) for s in range(given.runs) for k in rivals if (k, s) not in done]
    if todo:
        with background_load() as count:
            time.sleep(2)  # until the load has got going
            for kind, seed in todo:
                _run(model, kind, rivals[kind], seed, count)
    return _report(given.runs)


def _models() -> tuple[Path, dict[str, Path]]:
    model = HOME / "model.onnx"
    if not model.exists():
        convkit.convert(SAMPLE, to="onnx", output_dir=HOME)
    copy = HOME / "copy.onnx"
    shutil.copyfile(model, copy)
    return model, {"copy": copy, "slowed": slowed.plant(model, HOME / "model.slowed", FACTOR)}


def _run(model: Path, kind: str, rival: Path, seed: int, processes: int) -> None:
    start = time.perf_counter()
    found = bench(
        [model, rival], seconds=SECONDS, streams=(), seed=seed, plugins=("tests.benchmarks.slowed",)
    )
    ratio = found.rows[1].ratio
    if ratio is None:
        raise SystemExit(f"{kind}: {found.rows[1].error or found.rows[0].error}")
    row = {
        "kind": kind,
        "seed": seed,
        "verdict": ratio.verdict,
        "ratio": ratio.value,
        "low": ratio.low,
        "high": ratio.high,
        "rounds": found.rounds,
        "seconds": time.perf_counter() - start,
        "load": os.getloadavg()[0],
        "processes": processes,
    }
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print(
        f"{kind:7} {seed:3}  {ratio.verdict:12} {ratio.value:.4f} "
        f"[{ratio.low:.4f}, {ratio.high:.4f}]  {found.rounds} rounds, load {row['load']:.1f}",
        flush=True,
    )


def _report(runs: int) -> bool:
    rows = {(r["kind"], r["seed"]): r for r in read(RESULTS) if r["seed"] < runs}
    counts = {
        kind: Counter(r["verdict"] for (k, _), r in rows.items() if k == kind) for kind in RIGHT
    }
    print(f"\nverdicts on a loaded machine ({runs} runs of each kind)")
    shares = {}
    for kind, right in RIGHT.items():
        total = counts[kind].total()
        shares[kind] = sum(counts[kind][v] for v in right) / total if total else 0.0
        mark = "ok" if shares[kind] >= NEEDED else "TOO FEW"
        print(f"  {kind:7} {dict(counts[kind])}  right: {shares[kind]:.1%} of {total}  {mark}")
    holds = all(share >= NEEDED for share in shares.values())
    print(json.dumps({"benchmark": "verdicts", "counts": counts, "right": shares, "holds": holds}))
    return holds
