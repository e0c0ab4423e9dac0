"""Make the bundle of trained weights: ``python -m convkit_samples.export --weights FILE``."""

import argparse
import shutil
from pathlib import Path

import torch
from torch.export import ExportedProgram

from convkit_samples import DIGITS_YOLO
from convkit_samples.coco import write_coco, write_images
from convkit_samples.detector import Detector, fold
from convkit_samples.scenes import SIZE
from convkit_samples.train import VALIDATION_COUNT, VALIDATION_SEED

CALIBRATION_SEED, CALIBRATION_COUNT = 0, 80
KEPT_META = frozenset({"val", "tensor_meta", "nn_module_stack", "torch_fn"})

TRANSFORM = f"""\
# how an image becomes the model's input
[transform]
resize = [{SIZE}, {SIZE}]        # height, width
interpolation = "bilinear"
mode = "stretch"           # stretch | letterbox | center-crop
range = [0.0, 1.0]         # pixel values 0..255 are mapped onto this range
mean = [0.0, 0.0, 0.0]
std = [1.0, 1.0, 1.0]
channels = "RGB"
layout = "NCHW"
"""
DETECTION = """\

[detection]
decoder = "yolo"           # (1, 4 + classes, anchors): cx, cy, w, h in pixels, then class scores
score_threshold = 0.001
iou_threshold = 0.6
max_detections = 100
"""


def load_weights(path: Path) -> Detector:
    """The folded detector with trained weights, in eval mode."""
    model = Detector().eval()
    fold(model)
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.requires_grad_(False)


def program(model: Detector) -> ExportedProgram:
    """Export the detector for one image float32 (1, 3, S, S) named ``images``.

    Stack traces and the example input are dropped: the file then tells nothing of the
    machine it was made on, and is smaller.
    """
    exported = torch.export.export(model, (torch.zeros(1, 3, SIZE, SIZE),), strict=False)
    for node in exported.graph.nodes:
        for key in set(node.meta) - KEPT_META:
            del node.meta[key]
    exported.example_inputs = None
    return exported


def write_data(folder: Path) -> None:
    """Write the calibration images and the labelled validation images, with their settings."""
    for part in ("calibration", "validation"):
        shutil.rmtree(folder / part, ignore_errors=True)
    write_images("calibration", CALIBRATION_COUNT, CALIBRATION_SEED, folder / "calibration")
    write_coco("validation", VALIDATION_COUNT, VALIDATION_SEED, folder / "validation")
    (folder / "calibration" / "calibration.toml").write_text(TRANSFORM, encoding="utf-8")
    (folder / "validation" / "dataset.toml").write_text(TRANSFORM + DETECTION, encoding="utf-8")


def main() -> None:
    """Write ``model.pt2`` and the data of the bundle."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="weights.pt of the training")
    parser.add_argument("--out", type=Path, default=DIGITS_YOLO, help="bundle folder")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    write_data(options.out)
    torch.export.save(program(load_weights(options.weights)), options.out / "model.pt2")


if __name__ == "__main__":
    main()
