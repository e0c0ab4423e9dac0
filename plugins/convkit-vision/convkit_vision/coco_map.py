"""The metric `coco-map`: COCO mean average precision of a detector."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convkit.errors import InputError, UsageError
from convkit.plugin import Artifact, MetricResult
from convkit_vision.dataset import PreparesAsDeclared

if TYPE_CHECKING:
    from convkit_vision.coco_data import CocoData

# The modules that do the work are imported inside methods: this one is loaded at every start.

PICTURE_ROWS = 4


class CocoMap(PreparesAsDeclared):
    """mAP@0.5:0.95 over a folder with images, COCO or YOLO annotations, and `dataset.toml`."""

    name = "coco-map"
    requirements: tuple[str, ...] = ("pillow", "numpy", "faster-coco-eval", "pyyaml")

    def inputs(
        self, data: Path, artifact: Artifact, limit: int | None
    ) -> Iterator[tuple[Any, ...]]:
        """The images in the order of the annotation file, transformed as `dataset.toml` says.

        Raises:
            InputError: an image is unreadable or not of its annotated size, or the data set is
                malformed.
            UsageError: the model does not take single images of that shape.
        """
        from convkit_vision.coco_data import load_coco
        from convkit_vision.labelled import image_samples

        dataset = load_coco(data, limit, artifact)
        check_labelled(dataset)
        sizes = {image.file: (image.width, image.height) for image in dataset.images}

        def check(file: Path, image: Any) -> None:
            if image.size != sizes[file]:
                raise InputError(
                    f"image {file} is {image.size[0]}x{image.size[1]}, but annotated as"
                    f" {sizes[file][0]}x{sizes[file][1]} (width x height)"
                )

        return image_samples(list(sizes), artifact, dataset.transform, check)

    def score(
        self, data: Path, outputs: Iterable[Sequence[Any]], limit: int | None
    ) -> MetricResult:
        """Decode, suppress, undo the transform's geometry, and evaluate.

        `details` has the companions of mAP where they are defined, `detections` (how many),
        `score_max` (the best raw class score: near 0 when quantization crushed the scores) and
        `invalid` (boxes with NaN or infinite values, which are left out). `problems` says what
        makes the value doubtful: no detections, scores outside 0..1, boxes in other units.

        Raises:
            UsageError: outputs that cannot be decoded or do not match the images in number, or
                images without any labelled object.
        """
        from convkit_vision import evaluation
        from convkit_vision.coco_data import load_coco

        dataset = load_coco(data, limit)
        check_labelled(dataset)
        tally = evaluation.Tally(dataset.detection)
        results: list[Any] = []
        for image, found in evaluation.detections(dataset, outputs):
            results += evaluation.coco_results(image.id, found, dataset.categories)
            tally.add(found)
        statistics = evaluation.coco_statistics(dataset.truth, results)
        value = statistics.pop("map")
        return MetricResult(
            self.name,
            value,
            {**statistics, **tally.counts},
            len(dataset.images),
            tally.problems,
        )

    def picture(
        self, data: Path, outputs: Mapping[str, Sequence[Sequence[Any]]], path: Path
    ) -> bool:
        """Draw the first images with the labelled objects and each model's detections side by side.

        Rows are as many as every model has outputs for, at most `PICTURE_ROWS`.
        """
        from convkit_vision import evaluation, pixels
        from convkit_vision.coco_data import load_coco
        from convkit_vision.picture import Panel, draw_comparison

        rows = min((len(samples) for samples in outputs.values()), default=0)
        if not rows:
            return False
        dataset = load_coco(data, min(rows, PICTURE_ROWS))
        count = len(dataset.images)
        truth = [
            [a for a in dataset.truth["annotations"] if a["image_id"] == image.id]
            for image in dataset.images
        ]
        columns = [Panel.of_truth(truth)]
        for title, samples in outputs.items():
            found = [
                evaluation.coco_results(image.id, one, dataset.categories)
                for image, one in evaluation.detections(dataset, samples[:count])
            ]
            columns.append(Panel.of_model(title, found, truth))
        images = [pixels.load(image.file, InputError) for image in dataset.images]
        draw_comparison(images, columns, dataset.names, path)
        return True


def check_labelled(dataset: CocoData) -> None:
    """Refuse images without any object: mAP is undefined on them.

    Raises:
        UsageError: naming the annotations.
    """
    if not any(not a["iscrowd"] for a in dataset.truth["annotations"]):
        raise UsageError(
            f"{dataset.labels} labels no object in the {len(dataset.images)} images used",
            hint="mAP is undefined without objects; use more images, or `--metric fidelity-map`,"
            " which needs no labels.",
        )
