"""Originals that two runtimes read differently."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from convkit.artifact import Artifact, State
from convkit.engine.second_opinion import MAX_BYTES, SAMPLES, Finding, second_runner, weighed
from convkit.engine.session import Samples

NAMES = ("quick", "exact")
GOOD: Finding = ("ok", (), ())
BAD: Finding = ("wrong", (), ("y: all differs",))


def test_what_one_of_them_confirms_is_doubtful() -> None:
    for first, second, who in ((GOOD, BAD, "quick"), (BAD, GOOD, "exact")):
        verdict, _, problems = weighed(first, second, ["y: SQNR 3 dB"], NAMES)
        assert verdict == "degraded"
        assert problems[0] == (
            "quick and exact disagree about the original (y: SQNR 3 dB); "
            f"the result agrees with {who}"
        )


def test_what_neither_confirms_is_wrong() -> None:
    assert weighed(BAD, BAD, ["y: SQNR 3 dB"], NAMES) == BAD


def session(*runners: str) -> Any:
    return SimpleNamespace(runners=lambda _: runners)


@pytest.fixture
def model(tmp_path: Path) -> Artifact:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"x" * 100)
    return Artifact(path, State("onnx"), size_bytes=100)


def samples(path: Path, size: int) -> Samples:
    path.write_bytes(b"x" * size)
    return Samples(path, "", 8, synthetic=True)


def test_small_models_are_asked_about_on_few_samples(model: Artifact, tmp_path: Path) -> None:
    found = second_runner(session("quick", "exact"), model, samples(tmp_path / "s", 10))
    assert found is not None
    assert found[0] == "exact"
    assert found[1].count == SAMPLES


def test_others_are_not(model: Artifact, tmp_path: Path) -> None:
    both, few, many = (
        session("a", "b"),
        samples(tmp_path / "s", 10),
        samples(tmp_path / "l", MAX_BYTES + 1),
    )
    large = Artifact(model.path, model.state, size_bytes=MAX_BYTES + 1)
    folder = Artifact(tmp_path, State("tf-saved"), size_bytes=10)
    assert second_runner(session("a"), model, few) is None
    assert second_runner(both, model, many) is None
    assert second_runner(both, large, few) is None
    assert second_runner(both, folder, few) is None
