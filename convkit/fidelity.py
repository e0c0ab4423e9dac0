"""Metrics without labels: how much of the reference is left in a model's outputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from convkit.artifact import Artifact
from convkit.errors import UsageError
from convkit.plugin.data import MetricResult

SQNR_CEILING = 200.0
"""In dB; stands for outputs that are equal bit by bit, so that the figure stays a number."""
MOST_VALUES = 20_000_000
"""Slices are judged on so many values of an output at most, from the first sample on."""


class _AgainstReference:
    """What both metrics share: samples come from the data's calibration source."""

    requirements: tuple[str, ...] = ("numpy",)

    def inputs(
        self, data: Path, artifact: Artifact, limit: int | None
    ) -> Iterator[Sequence[Any]] | None:
        """Any data that calibration takes."""
        return None

    def score(
        self, data: Path, outputs: Iterable[Sequence[Any]], limit: int | None
    ) -> MetricResult:
        """There is nothing to score without a reference."""
        raise UsageError("this metric holds a model against a reference")

    def picture(
        self, data: Path, outputs: Mapping[str, Sequence[Sequence[Any]]], path: Path
    ) -> bool:
        """There is none."""
        return False


class Fidelity(_AgainstReference):
    """The lowest cosine similarity of any slice of any output with the reference's.

    1 for outputs that are equal. By slices, because a figure over boxes in pixels and scores in
    0..1 together stays near 1 when all scores are lost. `details` has the lowest SQNR in dB
    (`sqnr_db`) and, where outputs are class scores, the lowest top-1 agreement (`top1`).
    """

    name = "fidelity"

    def score_against(
        self,
        data: Path,
        outputs: Iterable[Sequence[Any]],
        reference: Iterable[Sequence[Any]],
        limit: int | None,
    ) -> MetricResult:
        """See the class.

        Raises:
            UsageError: outputs that differ in number, shape or type from the reference's.
        """
        from convkit.numerics import compare

        ours, theirs, count = _by_output(reference, outputs)
        slices = [
            item
            for index, (a, b) in enumerate(zip(ours, theirs, strict=True))
            for item in compare(str(index), a, b)
        ]
        if not slices:
            raise UsageError("the models have no output that could be compared")
        broken = any(item.non_finite for item in slices)
        details = {"sqnr_db": min(_bounded(item.sqnr_db) for item in slices)}
        tops = [item.top1 for item in slices if item.top1 is not None]
        if tops:
            details["top1"] = min(tops)
        value = min(0.0 if item.non_finite else item.cosine for item in slices)
        said = ("NaN or infinity where the reference has none",) if broken else ()
        return MetricResult(self.name, value, details, count, said)


class Top1Agreement(_AgainstReference):
    """The share of samples whose highest class score is the reference's: of the first output whose
    shape is (1, classes)."""

    name = "fidelity-top1"

    def score_against(
        self,
        data: Path,
        outputs: Iterable[Sequence[Any]],
        reference: Iterable[Sequence[Any]],
        limit: int | None,
    ) -> MetricResult:
        """See the class; a sample with NaN among its scores is counted as wrong.

        Raises:
            UsageError: no output holds class scores, or outputs that do not match.
        """
        import numpy as np

        ours, theirs, count = _by_output(reference, outputs, most=None)
        at = next((i for i, a in enumerate(ours) if _is_scores(a[0])), None)
        if at is None:
            shapes = ", ".join(str(a[0].shape) for a in ours) or "none"
            raise UsageError(
                f"no output holds class scores: their shapes are {shapes}",
                hint="fidelity-top1 wants an output of shape (1, classes); `--metric fidelity`"
                " takes any.",
            )
        pairs = list(zip(ours[at], theirs[at], strict=True))
        invalid = sum(int(np.isnan(b).any() and not np.isnan(a).any()) for a, b in pairs)
        hits = sum(
            int(np.argmax(a) == np.argmax(b)) for a, b in pairs if not np.isnan(b).any()
        ) + sum(int(np.isnan(a).any() and np.isnan(b).any()) for a, b in pairs)
        return MetricResult(self.name, hits / count, {"invalid": invalid}, count)


def _is_scores(array: Any) -> bool:
    flat: bool = array.ndim == 2 and array.shape[0] == 1 < array.shape[1]
    return flat and array.dtype.kind == "f"


def _bounded(decibels: float) -> float:
    return max(-SQNR_CEILING, min(SQNR_CEILING, decibels))


def _by_output(
    reference: Iterable[Sequence[Any]],
    outputs: Iterable[Sequence[Any]],
    most: int | None = MOST_VALUES,
) -> tuple[list[list[Any]], list[list[Any]], int]:
    """Both models' outputs by output, then sample; and how many samples there are.

    Raises:
        UsageError: they do not match.
    """
    ours: list[list[Any]] = []
    theirs: list[list[Any]] = []
    count = values = 0
    for a, b in zip(reference, outputs, strict=True):
        if len(a) != len(b):
            raise UsageError(f"the model has {len(b)} outputs, the reference {len(a)}")
        for index, (x, y) in enumerate(zip(a, b, strict=True)):
            if x.shape != y.shape or (x.dtype.kind == "f") != (y.dtype.kind == "f"):
                raise UsageError(
                    f"output {index} is {y.dtype} {y.shape}, the reference's {x.dtype} {x.shape}"
                )
        ours = ours or [[] for _ in a]
        theirs = theirs or [[] for _ in b]
        if most is None or count < 2 or values < most:
            for left, right, x, y in zip(ours, theirs, a, b, strict=True):
                left.append(x)
                right.append(y)
                values += x.size
        count += 1
    return ours, theirs, count
