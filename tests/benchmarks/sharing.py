"""Shared prefixes and the store: three targets in one call, and an identical second run."""

from __future__ import annotations

import tempfile
from pathlib import Path

import convkit_samples
from tests.benchmarks.measure import BIN, Ratio, report, timed

SAMPLE = Path(convkit_samples.__file__).parent / "data" / "digits-yolo"
TARGETS = ("tflite", "tflite-fp16", "tflite-int8")


def main() -> bool:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        together = _convert(root / "together", TARGETS)
        again = _convert(root / "together", TARGETS)
        alone = sum(_convert(root / target, (target,)) for target in TARGETS)
    return report(
        "sharing (seconds, verification on, the store empty before each)",
        [
            Ratio("three targets together / one by one", together, alone, 0.6),
            Ratio("identical second run / 1 s", again, 1.0, 1.0),
        ],
    )


def _convert(root: Path, targets: tuple[str, ...]) -> float:
    wanted = [part for target in targets for part in ("--to", target)]
    return timed(
        [
            BIN / "convkit",
            "convert",
            SAMPLE / "model.pt2",
            *wanted,
            "--calibration",
            SAMPLE / "calibration",
            "-o",
            root / "out",
        ],
        CONVKIT_CACHE=str(root / "cache"),
    )
