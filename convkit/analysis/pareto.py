"""Which models nothing else beats in both time and metric."""

from __future__ import annotations

import math

from convkit.benchmark import Benchmark
from convkit.evaluation import Evaluation


def front(evaluation: Evaluation | None, benchmark: Benchmark | None) -> frozenset[str]:
    """Titles of the models on the Pareto front of median latency (lower is better) and metric
    (higher is better); empty where one of the two was not measured."""
    if evaluation is None or benchmark is None:
        return frozenset()
    points: dict[str, tuple[float, float]] = {}
    for row in evaluation.rows:
        timed = benchmark.row(row.title)
        if row.metric is None or math.isnan(row.metric.value):
            continue
        if timed is not None and timed.latency is not None:
            points[row.title] = (timed.latency.median, -row.metric.value)
    return frozenset(
        title
        for title, (seconds, loss) in points.items()
        if not any(
            other != (seconds, loss) and other[0] <= seconds and other[1] <= loss
            for other in points.values()
        )
    )
