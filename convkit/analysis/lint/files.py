"""Checks of the files that calibration data is read from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from convkit.analysis.lint.catalogue import warning
from convkit.engine.digest import digest_file
from convkit.lint import CalibrationWarning

_LABELS = frozenset(
    "mask masks label labels annotation annotations segmentation segmentations groundtruth gt"
    " target targets segmentationclass segmentationobject".split()
)
"""Folders of this name hold what is to be predicted, and endings of file names likewise."""
_SETTINGS = (".toml", ".json", ".yaml", ".yml", ".csv", ".txt")


def labels_among(files: Sequence[Path], root: Path) -> Iterator[CalibrationWarning]:
    """Label images that are read as samples: in a folder of such a name or with such an ending, and
    each beside an image of its name."""
    data = [file for file in _data(files) if file.is_relative_to(root)]
    images: set[str] = set()
    labels: list[tuple[str, Path]] = []
    for file in data:
        stem, is_label = _stem(file.relative_to(root))
        if is_label:
            labels.append((stem, file))
        else:
            images.add(stem)
    paired = [file for stem, file in labels if stem in images]
    if paired and 2 * len(paired) >= len(labels):
        name = paired[0].relative_to(root).as_posix()
        yield warning(
            "labels-in-calibration",
            f"{len(paired)} of {len(data)} files are labels of others among them, such as {name}",
        )


def shared(files: Sequence[Path], judged: Path) -> Iterator[CalibrationWarning]:
    """Files that the evaluation data holds too, by their content."""
    own = [file for file in _data(files) if file.is_file()]
    sizes = {file.stat().st_size for file in own}
    others = judged.rglob("*") if judged.is_dir() else [judged]
    suspects = [file for file in _data(others) if file.is_file() and file.stat().st_size in sizes]
    known = {digest_file(file) for file in suspects}
    if not known:
        return
    lengths = {file.stat().st_size for file in suspects}
    count = sum(f.stat().st_size in lengths and digest_file(f) in known for f in own)
    if count:
        yield warning(
            "validation-leak",
            f"{count} of {len(own)} files are in the evaluation data {judged.name} too",
        )


def _data(files: Iterable[Path]) -> list[Path]:
    return [file for file in files if file.suffix.lower() not in _SETTINGS]


def _stem(file: Path) -> tuple[str, bool]:
    """What a file is called without what makes it a label, and whether something does."""
    stem = file.stem.lower()
    for sign in ("_", "-", "."):
        head, _, tail = stem.rpartition(sign)
        if head and tail in _LABELS:
            return head, True
    return stem, any(part.lower() in _LABELS for part in file.parts[:-1])
