"""Gates on metrics and speed: what passes, what fails, and what cannot be held against a model."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest

from convkit.analysis.gates import Gates, judge, parse_under, require
from convkit.analysis.junit import junit
from convkit.analysis.pareto import front
from convkit.benchmark import Benchmark, BenchmarkRow, Latency, Machine, SpeedRatio
from convkit.comparison import Compared
from convkit.errors import ExitCode, GateError, UsageError
from convkit.evaluation import Evaluation, EvaluationRow
from convkit.plugin.data import MetricResult


def scored(title: str, value: float | None, change: float | None = None) -> EvaluationRow:
    metric = None if value is None else MetricResult("coco-map", value, {"map_50": 0.9}, 10)
    error = "" if metric else "it broke"
    return EvaluationRow(title, "onnx", title, 1, metric, change, error=error)


def timed(title: str, seconds: float | None, ratio: tuple[float, float, float] | None = None):
    latency = None if seconds is None else Latency(9, *(seconds,) * 6, 0.0)
    speed = ratio and SpeedRatio("original", *ratio, 0.95, 0.03, "cannot tell")
    return BenchmarkRow(title, "onnx", title, 1, latency=latency, ratio=speed, error="")


def evaluation(*rows: EvaluationRow) -> Evaluation:
    return Evaluation("coco-map", "data", 10, "original", (scored("original", 0.9), *rows))


def benchmark(*rows: BenchmarkRow) -> Benchmark:
    machine = Machine("x", 2, (), (), "linux", "3.11")
    return Benchmark((timed("original", 0.1), *rows), "original", 1, 9, 1, machine, 1.0)


def test_a_drop_within_the_limit_passes_and_a_larger_one_does_not() -> None:
    found = evaluation(scored("good", 0.895, -0.005), scored("bad", 0.88, -0.02))
    gates = judge(Gates(drop=0.01), found, None)
    assert [(g.title, g.passed) for g in gates] == [("good", True), ("bad", False)]
    with pytest.raises(GateError, match="bad.*-0.0200") as raised:
        require(gates, {"models": []})
    assert raised.value.exit_code is ExitCode.GATE
    assert raised.value.document == {"models": []}


def test_what_was_not_measured_does_not_pass() -> None:
    nan = scored("nan", math.nan, math.nan)
    found = evaluation(nan, scored("broken", None))
    limits = Gates(under=(("metric", 0.1),), drop=0.5)
    assert not any(g.passed for g in judge(limits, found, None))
    gates = judge(Gates(slower_than=2.0), None, benchmark(timed("broken", None)))
    assert [g.passed for g in gates] == [False]


def test_details_of_a_metric_can_be_limited_and_unknown_ones_are_named() -> None:
    found = evaluation(scored("model", 0.5, -0.4))
    (gate,) = judge(Gates(under=(("map_50", 0.85),)), found, None)
    assert gate.passed
    with pytest.raises(UsageError, match="map_5o") as raised:
        judge(Gates(under=(("map_5o", 0.85),)), found, None)
    assert "map_50" in raised.value.hint


def test_only_what_is_surely_slower_fails() -> None:
    slow, unsure = timed("slow", 0.2, (2.0, 1.9, 2.1)), timed("unsure", 0.11, (1.1, 0.95, 1.3))
    gates = judge(Gates(slower_than=1.0), None, benchmark(slow, unsure))
    assert [(g.title, g.passed) for g in gates] == [("slow", False), ("unsure", True)]


@pytest.mark.parametrize("text", ["metric", "metric=", "metric=much", "=0.5x"])
def test_a_limit_that_is_none(text: str) -> None:
    with pytest.raises(UsageError, match="is no limit"):
        parse_under([text])


def test_junit_counts_what_failed() -> None:
    models = (Compared("a<b", "onnx", "", 1), Compared("gone", "tflite", "", 0, error="no & road"))
    gates = judge(Gates(drop=0.01), evaluation(scored("a<b", 0.88, -0.02)), None)
    suite = ElementTree.fromstring(junit(gates, models))
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "1")
    assert {case.get("name") for case in suite} >= {"a<b", "gone"}


def test_the_front_holds_what_nothing_beats_in_both() -> None:
    found = evaluation(scored("fast", 0.8, -0.1), scored("worse", 0.7, -0.2), scored("no", None))
    times = benchmark(timed("fast", 0.05), timed("worse", 0.06), timed("no", 0.01))
    assert front(found, times) == {"original", "fast"}
    assert front(found, None) == frozenset()
