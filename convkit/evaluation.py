"""What an evaluation found: one metric on one data set, for several models run alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from convkit.plugin.data import MetricResult
from convkit.verification import SliceAgreement

DIGITS = 12
"""Behind the point; no metric tells more."""


def difference(value: float, other: float) -> float:
    """One value of a metric minus another, as people write them: 0.961 - 0.956 is 0.005. Binary
    fractions make it 0.0050000000000000044, which would be more than a limit of 0.005."""
    return round(value - other, DIGITS)


@dataclass(frozen=True)
class EvaluationRow:
    """One model.

    Attributes:
        title: unique in the run: the file's name, lengthened where two would be alike.
        metric: None where it could not be scored, and `error` and `hint` say why.
        change: the metric minus the reference's, None for the reference itself.
        slices: how its outputs on the data set agree with the reference's, slice by slice; a
            combined figure over boxes and scores hides scores that are all zero.
        problems: in words, such as NaN among the outputs.
    """

    title: str
    state: str
    path: str
    size_bytes: int
    metric: MetricResult | None = None
    change: float | None = None
    slices: tuple[SliceAgreement, ...] = ()
    problems: tuple[str, ...] = ()
    error: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Evaluation:
    """All models on one data set.

    Attributes:
        reference: title of the model that the others are compared with.
        picture: a PNG with the models' results side by side, or None.
    """

    metric: str
    data: str
    samples: int
    reference: str
    rows: tuple[EvaluationRow, ...]
    seconds: float = 0.0
    picture: Path | None = None

    def row(self, title: str) -> EvaluationRow | None:
        """The row of a title."""
        return next((row for row in self.rows if row.title == title), None)
