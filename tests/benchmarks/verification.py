"""The share of a conversion's time that verification takes, on a YOLOv8n in two sizes.

The model is ultralytics' own description with seeded weights, so nothing is downloaded. Each run
starts from an empty store. Runs with verification and without take turns; what verification takes
is the difference of the medians, over the median with it.

Beside it stands what cannot be less: the runtimes' own calls on the same two samples, by hand, in a
process that has imported them already, and nothing compared.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
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


BY_HAND = """
import json, sys, time
import numpy as np, onnxruntime, openvino, torch
from ultralytics import YOLO

yaml, onnx, xml, side = sys.argv[1:]
shape = 1, 3, int(side), int(side)
samples = [np.random.default_rng(seed).random(shape, np.float32) for seed in (0, 1)]
model = YOLO(yaml).model.eval()

def by_torch():
    with torch.no_grad():
        return [model(torch.from_numpy(x)) for x in samples]

def by_onnxruntime():
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    return [session.run(None, {session.get_inputs()[0].name: x}) for x in samples]

def by_openvino():
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(xml, "CPU", options)
    return [compiled(x) for x in samples]

seconds = []
for call in (by_torch, by_onnxruntime, by_openvino):
    start = time.perf_counter()
    call()
    seconds.append(time.perf_counter() - start)
print(json.dumps(seconds))
"""
"""Seconds of the first calls of the three runtimes: load (torch has) and run two samples."""


def main() -> bool:
    """Measure and print."""
    ratios = []
    least = []
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
                if not title.endswith("tflite"):
                    own = statistics.median(_by_hand(model, side, target) for _ in range(ROUNDS))
                    least.append((title, own, own / (bare + own)))
    print("\nthe runtimes' own calls by hand, and their share if that were all of verification")
    for title, own, share in least:
        print(f"  {title:<40} {own:8.3f} {share:21.3f}")
    return report(f"verification (of the whole seconds, medians of {ROUNDS} runs)", ratios)


def _model(folder: Path) -> Path:
    """A copy of the packaged description, under the name that chooses its scale."""
    found = find_spec("ultralytics")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("this benchmark needs ultralytics")
    home = Path(found.submodule_search_locations[0])
    return Path(shutil.copyfile(home / "cfg/models/v8/yolov8.yaml", folder / "yolov8n.yaml"))


def _by_hand(model: Path, side: int, target: str) -> float:
    """Seconds of the runtimes' own calls that verifying this road needs."""
    with tempfile.TemporaryDirectory() as folder:
        read = ReadOptions(shapes={"images": (1, 3, side, side)})
        made = convert(model, to=("onnx", "openvino"), output_dir=Path(folder), read=read)
        files = [str(output.path) for output in made.outputs]
        done = subprocess.run(
            [sys.executable, "-c", BY_HAND, str(model), *files, str(side)],
            capture_output=True,
            text=True,
            check=True,
        )
    by_torch, by_onnxruntime, by_openvino = json.loads(done.stdout.splitlines()[-1])
    after = by_openvino if target == "openvino" else 0.0
    return float(by_torch + by_onnxruntime + after)


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
