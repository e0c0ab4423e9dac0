"""The metric `top1`: accuracy of an image classifier."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convkit.errors import InputError, UsageError
from convkit.plugin import Artifact, MetricResult
from convkit_vision import pixels, settings
from convkit_vision.dataset import SETTINGS, PreparesAsDeclared, read_settings
from convkit_vision.label_arrays import holds_arrays, labels_of
from convkit_vision.labelled import image_samples

if TYPE_CHECKING:
    from convkit_vision.transform import Transform

LABELS = "labels.csv"


class Top1(PreparesAsDeclared):
    """Top-1 accuracy over a folder with `dataset.toml` and labelled images, or over arrays.

    The labels are either the names of the folders that hold the images, or come from `labels.csv`
    with the columns `file` and `label`. Class indices follow `[classification] classes = [...]`;
    without it, folders count in the order of their names and labels in a CSV are the indices.

    Arrays, for models of any input: an `.npz` with one array per input, keyed by its name, and the
    class indices under `y`; or a folder with `x.npy` and `y.npy`.
    """

    name = "top1"
    requirements: tuple[str, ...] = ("pillow", "numpy")

    def inputs(
        self, data: Path, artifact: Artifact, limit: int | None
    ) -> Iterator[tuple[Any, ...]] | None:
        """The images, transformed as `dataset.toml` says; see `score` for their order. Arrays are
        left to their source.

        Raises:
            InputError: an image is unreadable, or the data set is malformed.
            UsageError: the model does not take single images of that shape.
        """
        if holds_arrays(data):
            _labels(data, limit)  # refused before any work
            return None
        transform, labelled = _load(data, limit, artifact)
        return image_samples([file for file, _ in labelled], artifact, transform)

    def score(
        self, data: Path, outputs: Iterable[Sequence[Any]], limit: int | None
    ) -> MetricResult:
        """The share of images whose highest score in the first output is that of their label.

        Images are in the order of `labels.csv`, or by their place within the class first and by
        class second, so that a limit takes from every class. `details` has `top5` and `invalid`
        (outputs with NaN, which count as wrong); a tie counts for the lower index.

        Raises:
            UsageError: outputs that do not match the images in number, or have too few classes.
        """
        import numpy as np

        arrays = holds_arrays(data)
        labelled = _labels(data, limit) if arrays else _load(data, limit, None)[1]
        top1 = top5 = invalid = 0
        for entry, output in zip_longest(labelled, outputs):
            if entry is None or output is None:
                kind = "labels" if arrays else "images"
                raise UsageError(
                    f"the data set has {len(labelled)} {kind}, the outputs another number"
                )
            scores = np.asarray(output[0], np.float64)
            if not 1 < scores.size == scores.shape[-1]:
                raise UsageError(
                    f"the first output holds no class scores: its shape is {scores.shape}",
                    hint="top1 wants scores (1, classes) of one sample in the first output.",
                )
            scores = scores.reshape(-1)
            label = entry[1]
            if not 0 <= label < len(scores):
                raise UsageError(
                    f"{entry[0]} has class {label}, but the model gives {len(scores)} scores",
                    hint="Class indices count from 0; [classification] classes = [...] puts names"
                    " in the order of the scores.",
                )
            if np.isnan(scores).any():
                invalid += 1
                continue
            best = np.argsort(-scores, kind="stable")[:5]
            top1 += int(best[0] == label)
            top5 += int(label in best)
        count = len(labelled)
        return MetricResult(
            self.name, top1 / count, {"top5": top5 / count, "invalid": invalid}, count
        )

    def picture(
        self, data: Path, outputs: Mapping[str, Sequence[Sequence[Any]]], path: Path
    ) -> bool:
        """There is none."""
        return False


def _labels(data: Path, limit: int | None) -> list[tuple[str, int]]:
    """Rows with their class indices.

    Raises:
        InputError: the labels are no class indices.
    """
    labels = labels_of(data, limit)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise InputError(
            f"{data}: the labels are {labels.dtype} {labels.shape}, not class indices (N,)",
            hint="Save them as integers, one per sample, counted from 0.",
        )
    return [(f"row {number}", int(label)) for number, label in enumerate(labels)]


def _load(
    data: Path, limit: int | None, artifact: Artifact | None
) -> tuple[Transform, list[tuple[Path, int]]]:
    """The transform, and files with their class indices."""
    if not data.is_dir():
        raise InputError(
            f"{data} is no data set of labelled samples",
            hint="Give a folder of images, or an .npz file with the labels under y.",
        )
    transform, table = read_settings(data, "classification", artifact)

    def parse() -> list[str]:
        settings.check_keys(table, ("classes",))
        classes = table.get("classes", [])
        if not isinstance(classes, list) or not all(isinstance(c, str) for c in classes):
            raise settings.SettingError("classes must be a list of names")
        return classes

    classes = settings.attempt(parse, f"{data / SETTINGS}: [classification]", InputError)
    labels = data / LABELS
    found = _from_csv(labels, classes) if labels.is_file() else _from_folders(data, classes)
    if not found:
        raise InputError(
            f"{data} holds no labelled image",
            hint=f"Put the images into one folder per class, or list them in {LABELS}.",
        )
    return transform, found[:limit]


def _from_csv(labels: Path, classes: Sequence[str]) -> list[tuple[Path, int]]:
    import csv

    home = labels.parent.resolve()
    found: list[tuple[Path, int]] = []
    try:
        with labels.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                label = row["label"].strip()
                index = classes.index(label) if classes else int(label)
                file = home / row["file"].strip()
                if index < 0 or not file.resolve().is_relative_to(home):
                    raise ValueError(f"row {row} is out of bounds")
                found.append((file, index))
    except (OSError, KeyError, ValueError, AttributeError, csv.Error) as exc:
        raise InputError(
            f"{labels} cannot be read: {exc}",
            hint="It needs the columns file,label; a label is a class index, or a name listed in"
            f" [classification] classes of {SETTINGS}.",
        ) from exc
    return found


def _from_folders(data: Path, classes: Sequence[str]) -> list[tuple[Path, int]]:
    folders = {
        entry.name: sorted(file for file in entry.iterdir() if pixels.is_image(file.name))
        for entry in data.iterdir()
        if entry.is_dir() and not entry.name.startswith(".")
    }
    names = list(classes) or sorted(folders)
    strangers = sorted(set(folders) - set(names))
    if strangers:
        raise InputError(f"{data / SETTINGS} does not list the class of folder {strangers[0]!r}")
    ranked = [
        (place, index, file)
        for index, name in enumerate(names)
        for place, file in enumerate(folders.get(name, []))
    ]
    return [(file, index) for _, index, file in sorted(ranked)]
