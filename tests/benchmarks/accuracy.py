"""What int8 costs the sample: mAP on 1,000 fresh scenes for both roads, size, share of integers.

The scenes are of the `test` split, whose source digits occur in no other split. Whether a
difference is more than chance is judged by a paired bootstrap over images.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import convkit
import convkit_samples
from convkit.artifact import ReadOptions
from convkit.engine.evaluate import Evaluator
from convkit.engine.sample_files import load_outputs
from convkit.engine.session import Found, Session
from convkit.engine.sources import load
from convkit_samples.coco import write_coco
from convkit_vision.bootstrap import PairedDifference, paired_bootstrap
from convkit_vision.coco_data import CocoData, load_coco
from convkit_vision.evaluation import coco_results, detections

SCENES = 1000
SEED = 7
MAX_DROP, FLOAT_FLOOR, MAX_SIZE, MIN_INTEGER = 0.02, 0.60, 0.30, 0.90
ROADS = {"by litert-torch": (), "by onnx-tf": ("onnx-tf", "tensorflow")}

SAMPLE = Path(convkit_samples.__file__).parent / "data" / "digits-yolo"
MODEL = SAMPLE / "model.pt2"


def main() -> bool:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "scenes"
        write_coco("test", SCENES, SEED, data)
        shutil.copy(SAMPLE / "validation" / "dataset.toml", data / "dataset.toml")
        print(f"\naccuracy (coco-map on {SCENES} fresh scenes, 95 % paired bootstrap)")
        rows = [_road(name, via, data, Path(folder) / name) for name, via in ROADS.items()]
    print(json.dumps({"benchmark": "accuracy", "roads": rows}), flush=True)
    return all(row["holds"] for row in rows)


def _road(name: str, via: tuple[str, ...], data: Path, out: Path) -> dict[str, Any]:
    result = convkit.convert(
        MODEL,
        to=["tflite", "tflite-int8"],
        calibration=SAMPLE / "calibration",
        output_dir=out,
        steering=convkit.Steering(via=via),
    )
    plain = convkit.convert(
        MODEL,
        to="tflite-int8",
        calibration=SAMPLE / "calibration",
        output_dir=out / "plain",
        steering=convkit.Steering(via=via),
        settings=convkit.Settings(keep_float="none", verify=False),
    )
    wide, narrow = result.outputs
    shipped = _difference(data, narrow.path)
    everything = _difference(data, plain.path)
    size = narrow.size_bytes / wide.size_bytes
    integers = narrow.manifest.integer_macs or 0.0
    holds = (
        shipped.first >= FLOAT_FLOOR
        and -shipped.difference <= MAX_DROP
        and size <= MAX_SIZE
        and integers >= MIN_INTEGER
    )
    print(f"  {name}: {narrow.manifest.path}")
    print(f"    float mAP {shipped.first:.4f}; shipped int8 {_words(shipped)}")
    print(f"    everything in integers {_words(everything)}")
    print(f"    {narrow.size_bytes} of {wide.size_bytes} bytes = {size:.3f} of the float TFLite;")
    print(f"    {100 * integers:.2f} % of the multiply-accumulates in integers", flush=True)
    return {
        "road": name,
        "float": shipped.first,
        "int8": shipped.second,
        "interval": [shipped.low, shipped.high],
        "everything": everything.second,
        "size": size,
        "integers": integers,
        "holds": holds,
    }


def _words(found: PairedDifference) -> str:
    interval = f"[{found.low:+.4f}, {found.high:+.4f}]"
    return f"{found.second:.4f}, change {found.difference:+.4f} {interval}"


def _difference(data: Path, path: Path) -> PairedDifference:
    """The original against a file."""
    truth = load_coco(data, None)
    with convkit.Kit().session() as session:
        source = load(session, MODEL, "torch", ReadOptions())
        evaluator = Evaluator(session, "coco-map", data, source)
        models = (source, load(session, path, "tflite", ReadOptions()))
        first, second = (_results(session, evaluator, truth, found) for found in models)
    return paired_bootstrap(truth.truth, first, second)


def _results(session: Session, evaluator: Evaluator, truth: CocoData, found: Found) -> list[Any]:
    scored = evaluator.score(found)
    assert scored is not None, "no runner"
    outputs = zip(*load_outputs(scored.outputs, len(truth.images)), strict=True)
    return [
        row
        for image, seen in detections(truth, outputs)
        for row in coco_results(image.id, seen, truth.categories)
    ]
