"""A slice of the sweep over onnx's own test models; the whole is run by hand, see `__main__`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sweep.cases import Case, cases
from tests.sweep.trial import EDGES, Bench, bench

EVERY = 67
"""A prime, so that no family of cases is passed over for its regular place."""


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    pytest.importorskip("onnx")
    with bench(tmp_path_factory.mktemp("sweep")) as opened:
        yield opened


@pytest.fixture(scope="module")
def chosen() -> list[Case]:
    return list(cases())[::EVERY]


@pytest.mark.parametrize("name", ["openvino", "onnx2fx"])
def test_nothing_wrong_is_handed_out(
    name: str, trials: Bench, chosen: list[Case], tmp_path: Path
) -> None:
    outcomes = {case.name: trials.ours(case, EDGES[name], tmp_path) for case in chosen}
    wrong = {n: o.reason for n, o in outcomes.items() if o.outcome == "wrong"}
    assert not wrong
    correct = [n for n, o in outcomes.items() if o.outcome == "correct"]
    assert len(correct) > len(chosen) / 3, "the slice must say something"
    assert all(o.reason for o in outcomes.values() if o.outcome == "refused")


def test_what_the_tool_does_right_by_hand_is_not_lost(
    trials: Bench, chosen: list[Case], tmp_path: Path
) -> None:
    edge = EDGES["openvino"]
    lost = {}
    for case in chosen:
        ours = trials.ours(case, edge, tmp_path)
        if "onnx-int8" in ours.reason or "PrecisionError" in ours.reason:
            continue  # integer operators that the tool turns into float: no int8 file comes of it
        if ours.outcome != "correct" and trials.by_hand(case, edge, tmp_path).outcome == "correct":
            lost[case.name] = ours.reason
    assert not lost
