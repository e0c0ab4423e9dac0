"""A float form whose metric departs from the original's is traced to the hop that did it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from convkit.analysis.drift import drift
from convkit.artifact import Artifact, State
from convkit.engine.hops import HopResult
from convkit.engine.outcomes import Outcome, WalkedHop
from convkit.engine.session import Found
from convkit.evaluation import Evaluation, EvaluationRow
from convkit.inspection import Inspection
from convkit.plans import Cost, Plan, Step
from convkit.plans import Path as Road
from convkit.plugin.data import MetricResult


def found(state: State) -> Found:
    return Found(Artifact(Path(str(state)), state, (), ()), Inspection(state, (), ()))


def outcome(*edges: tuple[str, State]) -> Outcome:
    """Hops by the named converters, one after the other, from torch."""
    before, hops = State("torch"), []
    for converter, state in edges:
        step = Step(converter, before, state, {})
        hops.append(WalkedHop(step, HopResult(found(state), 0.1, False)))
        before = state
    road = Road(tuple(h.step for h in hops), Cost(0, len(hops), 1.0))
    return Outcome(Plan(State("torch"), before, (road,)), road, tuple(hops))


def row(title: str, value: float | None, reference: float = 0.9) -> EvaluationRow:
    metric = None if value is None else MetricResult("coco-map", value)
    change = None if value is None or title == "original" else value - reference
    return EvaluationRow(title, title, title, 1, metric, change)


def evaluation(*rows: EvaluationRow) -> Evaluation:
    return Evaluation("coco-map", "data", 9, "original", (row("original", 0.9), *rows))


ONNX, TF, TFLITE = State("onnx"), State("tf-saved"), State("tflite")
ROAD = (("torch.onnx", ONNX), ("onnx-tf.saved", TF), ("tensorflow.tflite", TFLITE))


@pytest.mark.parametrize(("culprit", "state"), [ROAD[0], ROAD[1], ROAD[2]])
def test_the_first_hop_that_departs_is_named(culprit: str, state: State) -> None:
    order = [s for _, s in ROAD]

    def score(model: Found) -> float:
        return 0.9 if order.index(model.state) < order.index(state) else 0.85

    (sentence,) = drift(evaluation(row("tflite", 0.85)), {"tflite": outcome(*ROAD)}, score)

    assert f"it is {culprit} that changes it from 0.9000 to 0.8500" in sentence
    assert sentence.startswith("tflite: coco-map is 0.8500")


def test_what_agrees_is_quantized_or_was_not_scored_is_no_drift() -> None:
    def score(model: Found) -> Any:
        raise AssertionError("nothing is to be scored")

    int8 = State("tflite", "int8")
    outcomes = {
        "tflite": outcome(*ROAD),
        "tflite-int8": outcome(*ROAD, ("quantizer", int8)),
        "onnx": outcome(ROAD[0]),
    }
    rows = (row("tflite", 0.9009), row("tflite-int8", 0.5), row("onnx", None), row("file", 0.1))
    assert drift(evaluation(*rows), outcomes, score) == ()


def test_an_artifact_between_that_nothing_runs_is_passed_over() -> None:
    def score(model: Found) -> float | None:
        return {"onnx": 0.9, "tf-saved": None, "tflite": 0.8}[str(model.state)]

    (sentence,) = drift(evaluation(row("tflite", 0.8)), {"tflite": outcome(*ROAD)}, score)

    assert "tensorflow.tflite" in sentence
