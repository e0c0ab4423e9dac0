"""Trained models with their data, as the benchmarks of the analyzer take them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from convkit.errors import InputError
from convkit_samples import DIGITS_YOLO
from convkit_samples.coco import write_coco
from convkit_vision.coco_data import CocoData, load_coco
from convkit_vision.evaluation import coco_results, coco_statistics, detections
from convkit_vision.pixels import load, to_array
from tests.models import model

FRESH_SEED = 7

Sample = tuple[Any, ...]
"""One array per input, batch 1."""


@dataclass(frozen=True)
class Task:
    """A model and what it is judged by.

    Attributes:
        data: labelled, for choosing.
        metric: a name of convkit's.
        fresh: writes labelled data that nothing was chosen by, given a folder, a number of samples
            and a seed (`FRESH_SEED`, or another), and returns its path.
    """

    name: str
    model: Path
    calibration: Path
    data: Path
    metric: str
    fresh: Callable[[Path, int, int], Path]

    def calibration_samples(self) -> list[Sample]:
        """For tools that take arrays."""
        if self.calibration.is_dir():
            how = _truth(self.data).transform
            files = sorted(self.calibration.glob("*.jpg")) or sorted(
                (self.calibration / "images").glob("*.jpg")
            )
            return [(to_array(load(file, InputError), how),) for file in files]
        return _rows(self.calibration)

    def samples(self) -> list[Sample]:
        """Of the labelled data, in its order."""
        if self.data.is_dir():
            truth = _truth(self.data)
            how = truth.transform
            return [(to_array(load(i.file, InputError), how),) for i in truth.images]
        return _rows(self.data)

    def score(self, outputs: Sequence[Sequence[Any]], rows: Sequence[int] | None = None) -> float:
        """The metric of the outputs of all samples, or of those in some rows, computed by the
        functions that convkit's metric calls."""
        if self.data.is_dir():
            truth = _part(_truth(self.data), rows)
            results = [
                row
                for image, seen in detections(truth, outputs)
                for row in coco_results(image.id, seen, truth.categories)
            ]
            return coco_statistics(truth.truth, results).get("map", 0.0)
        with np.load(self.data) as arrays:
            labels = arrays["y"] if rows is None else arrays["y"][list(rows)]
        return float(np.mean([o[0].argmax() == y for o, y in zip(outputs, labels, strict=True)]))


@cache
def _truth(data: Path) -> CocoData:
    return load_coco(data, None)


def _part(whole: CocoData, rows: Sequence[int] | None) -> CocoData:
    """Some of the images alone."""
    if rows is None:
        return whole
    images = tuple(whole.images[row] for row in rows)
    ids = {image.id for image in images}
    truth = {
        **whole.truth,
        "images": [i for i in whole.truth["images"] if i["id"] in ids],
        "annotations": [a for a in whole.truth["annotations"] if a["image_id"] in ids],
    }
    return replace(whole, images=images, truth=truth)


def task(name: str) -> Task:
    """A task by name; its model is trained first if need be."""
    if name == "bundled":
        return Task(
            name,
            DIGITS_YOLO / "model.pt2",
            DIGITS_YOLO / "calibration",
            DIGITS_YOLO / "validation",
            "coco-map",
            _scenes(DIGITS_YOLO / "validation" / "dataset.toml"),
        )
    folder = model(name)
    if name == "yolov8n":
        return Task(
            name,
            folder / "yolov8n.pt",
            folder / "calibration",
            folder / "validation",
            "coco-map",
            _scenes(folder / "validation" / "dataset.toml"),
        )
    return Task(
        name,
        folder / "model.pt2",
        folder / "calibration.npz",
        folder / "validation.npz",
        "top1",
        _texts if name == "text" else _pictures,
    )


def _rows(path: Path) -> list[Sample]:
    """Inputs are in the file in the model's order."""
    with np.load(path) as arrays:
        inputs = [arrays[key] for key in arrays.files if key != "y"]
    return [tuple(array[n : n + 1] for array in inputs) for n in range(len(inputs[0]))]


def _scenes(settings: Path) -> Callable[[Path, int, int], Path]:
    def write(folder: Path, count: int, seed: int) -> Path:
        write_coco("test", count, seed, folder)
        shutil.copy(settings, folder / "dataset.toml")
        return folder

    return write


def _pictures(folder: Path, count: int, seed: int) -> Path:
    from tests.models.pictures import pictures

    images, labels = pictures("test", count, seed)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "fresh.npz", picture=images, y=labels)
    return folder / "fresh.npz"


def _texts(folder: Path, count: int, seed: int) -> Path:
    from tests.models.text import texts

    words, mask, labels = texts(count, seed)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "fresh.npz", words=words, mask=mask, y=labels)
    return folder / "fresh.npz"
