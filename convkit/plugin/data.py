"""Calibration sources and metrics: what a plugin implements for data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from convkit.artifact import Artifact
from convkit.plugin.implementation import Implementation

if TYPE_CHECKING:  # many dataclasses, which planning does not need
    from convkit.lint import Preparation


@dataclass(frozen=True)
class Sample:
    """A bundled example.

    Attributes:
        name: what the user types.
        folder: the data inside the installed package.
        model: the model's path in the folder.
        calibration, validation: folders in it, or empty.
        metric: the metric that its validation data is for, or empty.
    """

    name: str
    title: str
    folder: Path
    model: str
    calibration: str = ""
    validation: str = ""
    metric: str = ""


@runtime_checkable
class CalibrationSource(Implementation, Protocol):
    """Reads one kind of calibration data."""

    def accepts(self, path: Path) -> bool:
        """Whether this reader is for the path; cheap, from names and suffixes only."""

    def files(self, path: Path) -> tuple[Path, ...]:
        """All files whose content decides the samples (data and `calibration.toml`), sorted."""

    def describe(self, path: Path, artifact: Artifact, overrides: Mapping[str, Any]) -> str:
        """What `read` does to the data, in words for the manifest; empty where it does nothing."""
        ...

    def read(
        self,
        path: Path,
        artifact: Artifact,
        overrides: Mapping[str, Any],
        limit: int | None,
        seed: int,
    ) -> Iterator[Sequence[Any]]:
        """Yield samples: numpy arrays in the order of `artifact.inputs`, batch axis included.

        Args:
            overrides: transform settings given as flags; they win over `calibration.toml`.

        Raises:
            CalibrationError: unreadable, wrong shape, or no transform declared.
        """
        ...


@runtime_checkable
class OrderedSource(CalibrationSource, Protocol):
    """A calibration source whose data has an order that people know: file names, rows."""

    def samples(
        self, path: Path, artifact: Artifact, limit: int | None
    ) -> Iterator[tuple[str, Sequence[Any]]]:
        """The first `limit` samples in the data's own order, each with its name: of a file, its
        path inside the folder, of a row, its number from 0. Else as `read`."""
        ...


@runtime_checkable
class DeclaringSource(CalibrationSource, Protocol):
    """A calibration source of images that can say how they become the model's input."""

    def preparation(
        self, path: Path, artifact: Artifact, overrides: Mapping[str, Any]
    ) -> Preparation | None:
        """What is declared, for the calibration lint; None where nothing is. Cheap: from settings
        files only, and called outside of workers.

        Args:
            overrides: as in `read`.

        Raises:
            CalibrationError: what is declared is wrong.
        """
        ...


@dataclass(frozen=True)
class MetricResult:
    """A metric on one model.

    Attributes:
        name: such as `coco-map`.
        value: the headline number, higher is better.
        details: further numbers by name.
        samples: how many samples it is over.
        problems: what makes the value doubtful, in words, such as an output without detections.
    """

    name: str
    value: float
    details: Mapping[str, float] = field(default_factory=dict)
    samples: int = 0
    problems: tuple[str, ...] = ()


@runtime_checkable
class Metric(Implementation, Protocol):
    """A task metric over a labelled data set; all methods run in a worker."""

    def inputs(
        self, data: Path, artifact: Artifact, limit: int | None
    ) -> Iterator[Sequence[Any]] | None:
        """Pre-processed samples in the data set's order, as `CalibrationSource.read`.

        None leaves reading to the calibration source that accepts the data, in its own order.

        Args:
            limit: the first so many samples alone, None for all. They must be what all samples
                begin with: the analyzer scores a part of the data like this.
        """
        ...

    def score(
        self, data: Path, outputs: Iterable[Sequence[Any]], limit: int | None
    ) -> MetricResult:
        """Post-process the outputs (one sequence of arrays per sample) and score them."""

    def picture(
        self, data: Path, outputs: Mapping[str, Sequence[Sequence[Any]]], path: Path
    ) -> bool:
        """Draw a few samples side by side, one column per model; False where it has no picture.

        Args:
            outputs: title of a model to its outputs on the first samples.
            path: the PNG to write.
        """
        ...


@runtime_checkable
class DeclaringMetric(Metric, Protocol):
    """A metric over images that can say how they become the model's input."""

    def preparation(self, data: Path) -> Preparation | None:
        """What is declared with the data set; as `DeclaringSource.preparation`.

        Raises:
            InputError: what is declared is wrong.
        """
        ...


@runtime_checkable
class ReferenceMetric(Metric, Protocol):
    """A metric that needs no labels: it holds a model's outputs against those of the reference.

    The engine calls `score_against`; `score` raises.
    """

    def score_against(
        self,
        data: Path,
        outputs: Iterable[Sequence[Any]],
        reference: Iterable[Sequence[Any]],
        limit: int | None,
    ) -> MetricResult:
        """Score the outputs; `reference` has the other model's, sample by sample. A model held
        against itself has the best value there is."""
        ...
