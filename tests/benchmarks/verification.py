"""The share of a conversion's time that verification takes, on a YOLOv8n in two sizes.

The model is ultralytics' own description with seeded weights, so nothing is downloaded. Each run
starts from an empty store. Runs with verification and without take turns; what verification takes
is the difference of the medians, over the median with it.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
from importlib.util import find_spec
from pathlib import Path

from convkit import Settings
from convkit.api import Steering, convert
from convkit.artifact import ReadOptions
from tests.benchmarks.measure import Ratio, report

ROUNDS = 5
LIMIT = 0.15
SIDES = (320, 640)
ROADS = {
    "torch -> tflite": ("tflite", ("torch",)),
    "onnx": ("onnx", ()),
    "onnx -> openvino": ("openvino", ("onnx",)),
}
"""Title to target and the formats to pass. The last two are what a plain `--to` takes."""


def main() -> bool:
    """Measure and print."""
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        model = _model(Path(folder))
        for side in SIDES:
            for title, (target, via) in ROADS.items():
                runs = [
                    [_run(model, side, target, via, verify) for verify in (True, False)]
                    for _ in range(ROUNDS)
                ]
                whole, bare = (statistics.median(times) for times in zip(*runs, strict=True))
                title = f"yolov8n, {side} px, {title}"
                ratios.append(Ratio(title, whole - bare, whole, LIMIT))
    return report(f"verification (of the whole seconds, medians of {ROUNDS} runs)", ratios)


def _model(folder: Path) -> Path:
    """A copy of the packaged description, under the name that chooses its scale."""
    found = find_spec("ultralytics")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("this benchmark needs ultralytics")
    home = Path(found.submodule_search_locations[0])
    return Path(shutil.copyfile(home / "cfg/models/v8/yolov8.yaml", folder / "yolov8n.yaml"))


def _run(model: Path, side: int, target: str, via: tuple[str, ...], verify: bool) -> float:
    """Seconds of one conversion."""
    before = os.environ.get("CONVKIT_CACHE")
    with tempfile.TemporaryDirectory() as cache:
        os.environ["CONVKIT_CACHE"] = cache
        try:
            result = convert(
                model,
                to=target,
                output_dir=Path(cache) / "out",
                steering=Steering(via=via),
                settings=Settings(verify=verify),
                read=ReadOptions(shapes={"images": (1, 3, side, side)}),
            )
        finally:
            os.environ.pop("CONVKIT_CACHE")
            if before is not None:
                os.environ["CONVKIT_CACHE"] = before
    verdicts = [v for hop in result.manifest.hops for v in (hop.verification, hop.predecessor)]
    if verify and verdicts[0] is None:
        raise SystemExit("a hop was not verified")
    return result.seconds["total"]
