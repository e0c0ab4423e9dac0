"""mAP of the float model and of the shipped int8 file on 1,000 fresh scenes.

The scenes are of the `test` split, whose source digits occur in no other split. The difference is
judged by a paired bootstrap over images.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

import convkit_samples
from convkit_samples.coco import write_coco

SCENES = 1000
SEED = 7
LIMIT = 0.02
FLOAT_FLOOR = 0.60

SAMPLE = Path(convkit_samples.__file__).parent / "data" / "digits-yolo"


def main() -> bool:
    """Measure and print."""
    import convkit
    from convkit.results import ConversionResult

    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "scenes"
        write_coco("test", SCENES, SEED, data)
        shutil.copy(SAMPLE / "validation" / "dataset.toml", data / "dataset.toml")
        result: ConversionResult = convkit.convert(
            SAMPLE / "model.pt2",
            to="tflite-int8",
            calibration=SAMPLE / "calibration",
            data=data,
            metric="coco-map",
            output_dir=Path(folder) / "out",
        )
        board = result.scoreboard
        assert board is not None
        rows = {title: row.value for title, row in board.rows.items()}
    original, shipped = next(iter(rows.values())), rows["tflite-int8"]
    print(f"\naccuracy (coco-map on {SCENES} fresh scenes)")
    for title, value in rows.items():
        print(f"  {title:40} {value:.4f}  {value - original:+.4f}")
    holds = original >= FLOAT_FLOOR and original - shipped <= LIMIT
    print(json.dumps({"benchmark": "accuracy", "rows": rows, "holds": holds}), file=sys.stdout)
    return holds
