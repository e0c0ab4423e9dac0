"""A whole conversion against the same converters called by hand, for both roads.

Verification is off, since nobody who works by hand has it; building the isolated environment is
excluded; the store is emptied before each run. Runs alternate, and the medians are compared.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import convkit_samples
from convkit.engine.environments import EnvironmentBuilder
from convkit.engine.store import default_root
from convkit_onnx_tf.converter import environment
from tests.benchmarks.measure import BIN, Ratio, report, timed

ROUNDS = 3
LIMIT = 1.10
SAMPLE = Path(convkit_samples.__file__).parent / "data" / "digits-yolo"
MODEL, CALIBRATION = SAMPLE / "model.pt2", SAMPLE / "calibration"


def main() -> bool:
    """Measure and print."""
    builder = EnvironmentBuilder(default_root() / "envs")
    isolated = builder.ensure(environment(), print)
    short: tuple[list[float], list[float]] = ([], [])
    long: tuple[list[float], list[float]] = ([], [])
    with tempfile.TemporaryDirectory() as folder:
        for number in range(ROUNDS):
            root = Path(folder) / str(number)
            for name in ("short", "long", "hand-short", "hand-long"):
                (root / name).mkdir(parents=True)
            short[0].append(_convkit(root / "short", []))
            short[1].append(_by_hand_short(root / "hand-short"))
            long[0].append(_convkit(root / "long", ["--via", "onnx-tf", "--via", "tensorflow"]))
            long[1].append(_by_hand_long(root / "hand-long", isolated))
    return report(
        f"overhead (seconds, median of {ROUNDS}, verification off, the store empty)",
        [
            _ratio("by litert-torch: convkit / by hand", short),
            _ratio("by onnx-tf: convkit / by hand", long),
        ],
    )


def _ratio(name: str, times: tuple[list[float], list[float]]) -> Ratio:
    return Ratio(name, statistics.median(times[0]), statistics.median(times[1]), LIMIT)


def _convkit(root: Path, extra: list[str]) -> float:
    cache = root / "cache"
    cache.mkdir()
    os.symlink(default_root().resolve() / "envs", cache / "envs", target_is_directory=True)
    command: list[str | Path] = [
        BIN / "convkit", "convert", MODEL, "--to", "tflite-int8", "--calibration", CALIBRATION,
        "--no-verify", "--no-reroute", "-o", root / "out", *extra,
    ]  # fmt: skip
    took = timed(command, CONVKIT_CACHE=str(cache))
    shutil.rmtree(root)
    return took


def _by_hand_short(root: Path) -> float:
    return _script("litert", MODEL, CALIBRATION, root)


def _by_hand_long(root: Path, isolated: Path) -> float:
    script = Path(__file__).parent / "by_hand" / "saved.py"
    return (
        _script("onnx12", MODEL, root)
        + timed([isolated, script, root])
        + _script("tflite_int8", root, CALIBRATION)
    )


def _script(name: str, *arguments: Path) -> float:
    return timed([sys.executable, "-m", f"tests.benchmarks.by_hand.{name}", *arguments])
