"""What the benchmarks share: timing whole commands, and printing ratios with their limits."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Ratio:
    """A measured ratio and the most that it may be."""

    name: str
    ours: float
    theirs: float
    limit: float

    @property
    def value(self) -> float:
        """Ours over theirs."""
        return self.ours / self.theirs

    @property
    def holds(self) -> bool:
        """Whether it is within its limit."""
        return self.value <= self.limit


def timed(command: Sequence[str | Path], cwd: Path | None = None, **environment: str) -> float:
    """Seconds of one run of a command, which must succeed."""
    start = time.perf_counter()
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    took = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{command} failed:\n{done.stderr[-3000:]}")
    return took


def interleaved(commands: Mapping[str, Sequence[str | Path]], rounds: int) -> dict[str, float]:
    """Median seconds of each command, run in turn after one warm-up of each."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            took = timed(command)
            if number:
                times[name].append(took)
    return {name: statistics.median(values) for name, values in times.items()}


def inferences(files: Sequence[str | Path], example: Any, rounds: int) -> list[float]:
    """Median seconds of an inference of each ONNX file, on one thread, run in turn after three
    warm-ups of each.

    Args:
        example: what the files' only input takes.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    providers = ["CPUExecutionProvider"]
    sessions = [onnxruntime.InferenceSession(str(f), options, providers=providers) for f in files]
    times: list[list[float]] = [[] for _ in sessions]
    for number in range(rounds + 3):
        for session, own in zip(sessions, times, strict=True):
            feeds = {session.get_inputs()[0].name: example}
            start = time.perf_counter()
            session.run(None, feeds)
            if number >= 3:
                own.append(time.perf_counter() - start)
    return [statistics.median(own) for own in times]


def report(title: str, ratios: Sequence[Ratio]) -> bool:
    """Print a table and a JSON line; whether all ratios hold."""
    print(f"\n{title}")
    for r in ratios:
        mark = "ok" if r.holds else "OVER"
        values = f"{r.ours:8.3f} / {r.theirs:8.3f} = {r.value:6.3f}"
        print(f"  {r.name:44} {values}  (at most {r.limit}) {mark}")
    rows = [{**asdict(r), "ratio": r.value, "holds": r.holds} for r in ratios]
    print(json.dumps({"benchmark": title, "ratios": rows}), flush=True)
    return all(r.holds for r in ratios)
