"""One model of the page, with what the parts of a comparison say about it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from convkit.benchmark import BenchmarkRow, SpeedRatio
from convkit.comparison import Compared, Comparison
from convkit.evaluation import EvaluationRow
from convkit.plugin.data import MetricResult
from convkit.report import words
from convkit.report.blocks import Cell, Marker, Status
from convkit.report.palette import marker, split_state
from convkit.verification import Verification


@dataclass(frozen=True)
class Entry:
    """Attributes:
    index: its place among the models of the comparison; 0 is the original.
    """

    index: int
    model: Compared
    scored: EvaluationRow | None
    timed: BenchmarkRow | None

    @property
    def title(self) -> str:
        """Unique on the page."""
        return self.model.title

    @property
    def cell(self) -> Cell:
        """The heading of its row in a table."""
        return name_cell(self.title, self.model.state)

    @property
    def original(self) -> bool:
        """Whether it is what the others were made from."""
        return self.index == 0

    @property
    def error(self) -> str:
        """Why there is no file; its hint follows."""
        return " ".join(filter(None, (self.model.error, self.model.hint)))

    @property
    def format(self) -> str:
        """Id of the format."""
        return split_state(self.model.state)[0]

    @property
    def precision(self) -> str:
        """As found in the file, else as asked for."""
        return self.model.precision or split_state(self.model.state)[1]

    @property
    def marker(self) -> Marker:
        """Its symbol."""
        return marker(self.model.state)

    @property
    def metric(self) -> MetricResult | None:
        """From the evaluation, else as its manifest has it."""
        if self.scored is not None:
            return self.scored.metric
        metrics = self.model.manifest.metrics if self.model.manifest is not None else {}
        return next(iter(metrics.values()), None)

    @property
    def value(self) -> float | None:
        """The metric, if it is a number."""
        value = self.metric.value if self.metric is not None else None
        return value if value is not None and math.isfinite(value) else None

    @property
    def change(self) -> float | None:
        """Of the metric against the reference."""
        return self.scored.change if self.scored is not None else None

    @property
    def seconds(self) -> float | None:
        """Median latency, if it is a number."""
        found = self.timed.latency if self.timed is not None else None
        return found.median if found is not None and math.isfinite(found.median) else None

    @property
    def ratio(self) -> SpeedRatio | None:
        """Of its time to the baseline's."""
        return self.timed.ratio if self.timed is not None else None

    @property
    def size(self) -> int | None:
        """In bytes; None where there is no file, or its size is not known."""
        return self.model.size_bytes or None

    @property
    def verification(self) -> Verification | None:
        """Of its last hop against the original."""
        hops = self.model.manifest.hops if self.model.manifest is not None else ()
        return hops[-1].verification if hops else None

    @property
    def integer_share(self) -> float | None:
        """Of its multiply-accumulates in integers, for int8 models that have any."""
        if self.model.manifest is None or self.precision != "int8":
            return None
        return self.model.manifest.integer_macs


def name_cell(title: str, state: str, detail: str = "", status: Status = "") -> Cell:
    """The heading of a model's row; the overview has names at full length."""
    short = words.middle(title)
    return Cell(short, detail, status, marker(state), whole=title if short != title else "")


def entries(comparison: Comparison) -> tuple[Entry, ...]:
    """All models, the original first."""
    scored, timed = comparison.evaluation, comparison.benchmark
    return tuple(
        Entry(
            index,
            model,
            scored.row(model.title) if scored is not None else None,
            timed.row(model.title) if timed is not None else None,
        )
        for index, model in enumerate(comparison.models)
    )


def made(everything: Sequence[Entry]) -> list[Entry]:
    """The files that exist, without the original."""
    return [e for e in everything if not e.original and not e.model.error]


def metric_name(comparison: Comparison) -> str:
    """What the metric is called; empty where there is none."""
    if comparison.evaluation is not None:
        return comparison.evaluation.metric
    return next((e.metric.name for e in entries(comparison) if e.metric is not None), "")
