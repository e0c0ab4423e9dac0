"""The metric `fidelity-map`: a detector held against the reference's own detections."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convkit.errors import InputError, UsageError
from convkit.plugin import Artifact, MetricResult
from convkit_vision.dataset import PreparesAsDeclared

if TYPE_CHECKING:
    from convkit_vision.coco_data import CocoData

TRUTH = 0.25
"""A detection of the reference counts as an object from this score on."""


class FidelityMap(PreparesAsDeclared):
    """mAP@0.5:0.95 against what the reference detects with a score of at least 0.25.

    No labels are needed: a folder of images with `dataset.toml` ([transform] and [detection], the
    latter with `classes = [...]` where there are no annotations that name them). The reference
    itself scores 1.
    """

    name = "fidelity-map"
    requirements: tuple[str, ...] = ("pillow", "numpy", "faster-coco-eval", "pyyaml")

    def inputs(
        self, data: Path, artifact: Artifact, limit: int | None
    ) -> Iterator[Sequence[Any]] | None:
        """The images, transformed as `dataset.toml` says.

        Raises:
            InputError: an image is unreadable, or the data set is malformed.
            UsageError: the model does not take single images of that shape.
        """
        from convkit_vision.labelled import image_samples

        dataset = _load(data, limit, artifact)
        files = [image.file for image in dataset.images]
        return image_samples(files, artifact, dataset.transform)

    def score(
        self, data: Path, outputs: Iterable[Sequence[Any]], limit: int | None
    ) -> MetricResult:
        """There is nothing to score without a reference."""
        raise UsageError("fidelity-map holds a model against a reference")

    def score_against(
        self,
        data: Path,
        outputs: Iterable[Sequence[Any]],
        reference: Iterable[Sequence[Any]],
        limit: int | None,
    ) -> MetricResult:
        """See the class; `details` as of `coco-map`, and `objects`: what the reference found.

        Raises:
            UsageError: outputs that cannot be decoded, or a reference that finds nothing.
        """
        from convkit_vision import evaluation

        dataset = _load(data, limit, None)
        truth = truth_by(dataset, reference)
        tally = evaluation.Tally(dataset.detection)
        results: list[Any] = []
        for image, found in evaluation.detections(dataset, outputs):
            results += evaluation.coco_results(image.id, found, dataset.categories)
            tally.add(found)
        statistics = evaluation.coco_statistics(truth, results)
        value = statistics.pop("map")
        details = {**statistics, **tally.counts, "objects": len(truth["annotations"])}
        return MetricResult(self.name, value, details, len(dataset.images), tally.problems)

    def picture(
        self, data: Path, outputs: Mapping[str, Sequence[Sequence[Any]]], path: Path
    ) -> bool:
        """That of `coco-map` where there are labels; else there is none."""
        from convkit_vision import coco_json, yolo_labels
        from convkit_vision.coco_map import CocoMap

        if coco_json.find(data) is None and yolo_labels.find(data) is None:
            return False
        return CocoMap().picture(data, outputs, path)


def truth_by(dataset: CocoData, reference: Iterable[Sequence[Any]]) -> dict[str, Any]:
    """A COCO document with what a reference detects in place of the labels.

    Args:
        reference: its outputs, image by image.

    Raises:
        UsageError: it finds nothing.
    """
    from convkit_vision import evaluation

    annotations: list[dict[str, Any]] = []
    for image, found in evaluation.detections(dataset, reference):
        for entry in evaluation.coco_results(image.id, found, dataset.categories):
            if entry["score"] >= TRUTH:
                area = entry["bbox"][2] * entry["bbox"][3]
                more = {"id": len(annotations) + 1, "area": area, "iscrowd": 0}
                annotations.append({**entry, **more})
    if not annotations:
        raise UsageError(
            f"the reference detects nothing with a score of {TRUTH:g} or more in the"
            f" {len(dataset.images)} images used",
            hint="Give images that show what it detects, or check [detection].",
        )
    return {**dataset.truth, "annotations": annotations}


def _load(data: Path, limit: int | None, artifact: Artifact | None) -> CocoData:
    """The data set; images alone where there are no annotations."""
    from convkit_vision import coco_json, pixels, settings, yolo_labels
    from convkit_vision.coco_data import CocoData, CocoImage, load_coco
    from convkit_vision.dataset import SETTINGS, read_settings
    from convkit_vision.detection import parse_detection

    if not data.is_dir():
        raise InputError(f"{data} is no folder of images")
    if coco_json.find(data) is not None or yolo_labels.find(data) is not None:
        return load_coco(data, limit, artifact)
    transform, table = read_settings(data, "detection", artifact)
    where = f"{data / SETTINGS}: [detection]"
    detection = settings.attempt(lambda: parse_detection(table), where, InputError)
    if not detection.classes:
        raise InputError(
            f"{where}: without annotations, the classes must be named",
            hint='For example classes = ["cat", "dog"], in the order of the model\'s scores.',
        )
    home = data / "images" if (data / "images").is_dir() else data
    files = sorted(p for p in home.rglob("*") if pixels.is_image(p.name))[:limit]
    if not files:
        raise InputError(f"{data} holds no image ({', '.join(pixels.SUFFIXES)})")
    images = tuple(
        CocoImage(number, file, *pixels.size_of(file, InputError))
        for number, file in enumerate(files, start=1)
    )
    names = dict(enumerate(detection.classes))
    truth = {
        "info": {},
        "images": [
            {"id": i.id, "file_name": i.file.name, "width": i.width, "height": i.height}
            for i in images
        ],
        "categories": [{"id": key, "name": name} for key, name in names.items()],
        "annotations": [],
    }
    plain = replace(detection, categories=())
    return CocoData(transform, plain, images, tuple(names), names, truth, data / SETTINGS)
