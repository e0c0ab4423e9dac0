"""The share of a conversion's time that verification takes, on a YOLOv8n in two sizes.

The model is ultralytics' own description with seeded weights, so nothing is downloaded. Each run
starts from an empty store. Both times are taken inside the same run, so that a busy machine slows
them alike: the seconds of every verdict (inferences of the original and of the result, and their
comparison) over those of the whole call.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

from convkit.api import Steering, convert
from convkit.artifact import ReadOptions
from convkit.results import ConversionResult
from tests.benchmarks.measure import Ratio, report

ROUNDS = 3
LIMIT = 0.15
SIDES = (320, 640)
ROADS = {
    "torch -> tflite": ("tflite", "torch"),
    "onnx -> openvino": ("openvino", "onnx"),
}
"""Title to target and the format to pass."""


def main() -> bool:
    """Measure and print."""
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        model = _model(Path(folder))
        for side in SIDES:
            for title, (target, via) in ROADS.items():
                runs = [_run(model, side, target, via) for _ in range(ROUNDS)]
                ours, theirs = sorted(runs, key=lambda run: run[0] / run[1])[ROUNDS // 2]
                ratios.append(Ratio(f"yolov8n, {side} px, {title}", ours, theirs, LIMIT))
    return report(f"verification (seconds of the whole, median share of {ROUNDS} runs)", ratios)


def _model(folder: Path) -> Path:
    """A copy of the packaged description, under the name that chooses its scale."""
    found = find_spec("ultralytics")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("this benchmark needs ultralytics")
    home = Path(found.submodule_search_locations[0])
    return Path(shutil.copyfile(home / "cfg/models/v8/yolov8.yaml", folder / "yolov8n.yaml"))


def _run(model: Path, side: int, target: str, via: str) -> tuple[float, float]:
    """Seconds of verification and of everything, in one conversion."""
    before = os.environ.get("CONVKIT_CACHE")
    with tempfile.TemporaryDirectory() as cache:
        os.environ["CONVKIT_CACHE"] = cache
        try:
            result = convert(
                model,
                to=target,
                output_dir=Path(cache) / "out",
                steering=Steering(via=(via,)),
                read=ReadOptions(shapes={"images": (1, 3, side, side)}),
            )
        finally:
            os.environ.pop("CONVKIT_CACHE")
            if before is not None:
                os.environ["CONVKIT_CACHE"] = before
    return _verifying(result), result.seconds["total"]


def _verifying(result: ConversionResult) -> float:
    verdicts = [v for hop in result.manifest.hops for v in (hop.verification, hop.predecessor)]
    if verdicts[0] is None:
        raise SystemExit("a hop was not verified")
    return sum(v.seconds for v in verdicts if v is not None)
