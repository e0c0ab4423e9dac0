"""A data set need not be run to its end where its first samples leave no doubt."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convkit
from convkit.analysis.sensitivity.glance import GROUPS, SMALL, Glance, glance, worth_a_glance
from convkit.engine.evaluate import Part
from convkit.sensitivity import Sensitivity
from tests.analysis.test_analyze import Case, network

ALLOWED = 0.01
LABELLED = 240


def part_of(held: Any, own: Any) -> Part:
    """Of a metric that is the mean of samples' scores."""
    groups = np.arange(len(own)) % GROUPS
    mixed = tuple(float(np.where(groups == g, held, own).mean()) for g in range(GROUPS))
    return Part(len(own), float(held.mean()), float(own.mean()), mixed)


def seen(rng: Any, count: int, wrong: float, right: float) -> Glance:
    """At a classifier of which so large shares of answers become wrong and right."""
    held = (rng.random(count) < 0.8).astype(float)
    own = np.where(held > 0, rng.random(count) >= wrong / 0.8, rng.random(count) < right / 0.2)
    return glance(part_of(held, own.astype(float)))


@pytest.mark.parametrize("flips", [0.02, 0.05, 0.1])
def test_what_loses_as_much_as_it_may_is_hardly_ever_given_up(flips: float) -> None:
    rng = np.random.default_rng(0)
    tries = [seen(rng, 64, flips + ALLOWED, flips) for _ in range(2000)]
    assert sum(t.least > ALLOWED for t in tries) <= 0.015 * len(tries)


def test_what_is_far_off_is_given_up() -> None:
    rng = np.random.default_rng(1)
    tries = [seen(rng, 64, 0.5, 0.02) for _ in range(200)]
    assert sum(t.least > ALLOWED for t in tries) >= 0.95 * len(tries)


@given(st.floats(0, 1), st.floats(0, 1))
def test_what_loses_nothing_is_never_given_up(held: float, more: float) -> None:
    better = Part(64, held, held + more, tuple([held + more] * GROUPS))
    assert glance(better).least == -float("inf")


@given(st.integers(1, 100_000))
def test_a_part_is_a_small_one(count: int) -> None:
    few = worth_a_glance(count)
    assert few is None or 0 < SMALL * few <= count


@pytest.fixture(scope="module")
def case(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return network(tmp_path_factory.mktemp("glance"), "SiLU", decades=6.0, even=True)


@pytest.fixture(scope="module")
def labelled(case: Case) -> Path:
    """Labels are what the float model says."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    samples = rng.standard_normal((LABELLED, 3, 16, 16)).astype("float32")
    model = torch.export.load(case.model).module()
    with torch.no_grad():
        labels = [int(model(torch.from_numpy(s[None])).argmax()) for s in samples]
    data = case.model.parent / "labelled.npz"
    np.savez(data, image=samples, y=np.array(labels))
    return data


def analyze(case: Case, data: Path, metric: str, budget: int = 12) -> Sensitivity:
    settings = convkit.AnalysisSettings(
        max_drop=ALLOWED, budget=budget, timing=False, ranking=False
    )
    return convkit.analyze(
        case.model,
        to="onnx-int8",
        calibration=case.samples,
        data=data,
        metric=metric,
        analysis=settings,
    )


def test_a_build_that_is_far_off_is_scored_on_a_part(case: Case, labelled: Path) -> None:
    found = analyze(case, labelled, "top1")
    full = next(t for t in found.trials if t.phase == "baseline")
    assert full.part == worth_a_glance(LABELLED)
    assert full.drop is not None
    assert full.drop > ALLOWED
    assert 0 < found.cost.partial < 1
    assert found.choice.part == 0
    assert found.choice.name != full.name
    assert f"on the first {full.part} samples" in found.notes[1]


def test_the_choice_is_scored_on_all_data_even_where_the_goal_is_missed(
    case: Case, labelled: Path
) -> None:
    found = analyze(case, labelled, "top1", budget=1)
    assert not found.reached
    assert found.choice.part == 0
    assert found.choice.metric == pytest.approx(1.0 - (found.choice.drop or 0.0))
    assert round((found.choice.metric or 0.0) * LABELLED, 6).is_integer()


def test_a_metric_of_the_users_own_gets_all_the_data(
    case: Case, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may want an output for every label that it reads."""
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "def right(outputs, data):\n"
        "    labels = np.load(data)['y']\n"
        "    assert len(outputs) == len(labels)\n"
        "    return float(np.mean([o[0].argmax() == y for o, y in zip(outputs, labels)]))\n"
    )
    monkeypatch.chdir(tmp_path)
    mine, theirs = analyze(case, labelled, "mine.py:right"), analyze(case, labelled, "top1")
    assert not any(t.part for t in mine.trials)
    assert mine.cost.partial == 0
    assert dataclasses.astuple(mine.choice)[1:4] == dataclasses.astuple(theirs.choice)[1:4]
