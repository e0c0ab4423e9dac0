"""Gates that a user sets for a build to pass, judged on what was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from convkit.benchmark import Benchmark
from convkit.comparison import Gate
from convkit.errors import GateError, UsageError, did_you_mean
from convkit.evaluation import Evaluation
from convkit.plugin.data import MetricResult

HEADLINE = "metric"
"""Stands for the metric's own value in `--fail-under`."""


@dataclass(frozen=True)
class Gates:
    """What the user demands of every model but the reference.

    Attributes:
        under: name of a figure (`metric`, the metric's name, or one of its details) to the least
            that it may be; NaN is always too little.
        drop: most that the metric may be below the reference's.
        slower_than: most that a model's time may be, as a multiple of the baseline's. A gate fails
            where the whole confidence interval lies beyond: what cannot be told is not held
            against a model.
    """

    under: tuple[tuple[str, float], ...] = ()
    drop: float | None = None
    slower_than: float | None = None

    @property
    def on_metric(self) -> bool:
        """Whether an evaluation is needed."""
        return bool(self.under) or self.drop is not None


def parse_under(texts: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """Read `metric=0.5`.

    Raises:
        UsageError: no name, or no number.
    """
    pairs = []
    for text in texts:
        name, _, number = text.rpartition("=")
        try:
            pairs.append((name or HEADLINE, float(number)))
        except ValueError:
            raise UsageError(
                f"--fail-under {text} is no limit", hint="For example --fail-under metric=0.5."
            ) from None
    return tuple(pairs)


def judge(
    limits: Gates, evaluation: Evaluation | None, benchmark: Benchmark | None
) -> tuple[Gate, ...]:
    """Hold every model but the reference against the limits.

    A model that could not be measured fails: a gate that nothing was measured for proves nothing.

    Raises:
        UsageError: a limit on a figure that the metric does not give.
    """
    gates: list[Gate] = []
    if evaluation is not None:
        for name, least in limits.under:
            gates += _under(evaluation, name, least)
        if limits.drop is not None:
            gates += _drop(evaluation, limits.drop)
    if benchmark is not None and limits.slower_than is not None:
        gates += _slower(benchmark, limits.slower_than)
    return tuple(gates)


def require(gates: Sequence[Gate], document: dict[str, object]) -> None:
    """Stop where a gate was not met.

    Raises:
        GateError: with all that failed, and `document` for `--json`.
    """
    failed = [gate for gate in gates if not gate.passed]
    if failed:
        raise GateError(
            "; ".join(f"{gate.title}: {gate.message} ({gate.limit})" for gate in failed),
            hint="Everything was measured and written all the same.",
            document=document,
        )


def figure(result: MetricResult, name: str) -> float:
    """A metric's own value or one of its details.

    Raises:
        UsageError: there is no figure of that name.
    """
    if name in (HEADLINE, result.name):
        return result.value
    if name not in result.details:
        known = [HEADLINE, result.name, *result.details]
        hint = did_you_mean(name, known) or f"There are: {', '.join(known)}."
        raise UsageError(f"{result.name} gives no figure called {name!r}", hint=hint)
    return result.details[name]


def _under(evaluation: Evaluation, name: str, least: float) -> list[Gate]:
    limit = f"--fail-under {name}={least:g}"
    gates = []
    for row in evaluation.rows:
        if row.title == evaluation.reference:
            continue
        if row.metric is None:
            gates.append(Gate(limit, row.title, False, f"not scored: {row.error}"))
            continue
        value = figure(row.metric, name)
        gates.append(Gate(limit, row.title, value >= least, f"{name} is {value:.4f}"))
    return gates


def _drop(evaluation: Evaluation, most: float) -> list[Gate]:
    limit = f"--fail-drop {most:g}"
    gates = []
    for row in evaluation.rows:
        if row.title == evaluation.reference:
            continue
        if row.change is None or math.isnan(row.change):
            why = row.error or "there is no figure to compare"
            gates.append(Gate(limit, row.title, False, f"not scored: {why}"))
            continue
        lost = f"{evaluation.metric} changes by {row.change:+.4f}"
        gates.append(Gate(limit, row.title, -row.change <= most, lost))
    return gates


def _slower(benchmark: Benchmark, most: float) -> list[Gate]:
    limit = f"--fail-slower-than {most:g}"
    gates = []
    for row in benchmark.rows:
        if row.title == benchmark.baseline:
            continue
        if row.ratio is None:
            gates.append(Gate(limit, row.title, False, f"not measured: {row.error}"))
            continue
        ratio = row.ratio
        interval = (
            f"{ratio.value:.3f} x {ratio.baseline}'s time [{ratio.low:.3f}, {ratio.high:.3f}]"
        )
        gates.append(Gate(limit, row.title, ratio.low <= most, interval))
    return gates
