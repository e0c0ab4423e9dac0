"""What an edge cannot convert is known before it is tried, named, and planned around."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import convkit
from convkit.errors import NoPathError
from tests.testing.toyplugin import model as toy

PLUGINS = ("tests.testing.toyplugin.plugin", "tests.testing.toyplugin.sideways:choosy")


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("CONVKIT_CACHE", str(tmp_path / "cache"))

    def write(**changes: Any) -> Path:
        path = tmp_path / "net.toy"
        toy.write(toy.build({"a": (3, 0), "b": (3, 0)}, **changes), path, "toy")
        return path

    return write


def convert(source: Path, to: str, **changes: Any) -> Any:
    return convkit.convert(source, to=to, output_dir=source.parent, plugins=PLUGINS, **changes)


def test_a_model_without_obstacles_takes_the_best_road(build: Any) -> None:
    result = convert(build(), "toy-crate")
    assert [h.converter for h in result.manifest.hops] == ["choosy.brick", "choosy.crate"]


def test_an_obstacle_in_the_original_is_planned_around_before_any_work(build: Any) -> None:
    result = convert(build(step=True), "brick")
    assert [h.converter for h in result.manifest.hops] == ["toy.brick"]
    assert result.failed == (), "nothing was tried in vain"
    (rejection,) = [r for r in result.rejected if r.subject == "choosy.brick"]
    assert rejection.reason == (
        "cannot convert STEP in a/multiply, b/multiply. Leave the step out."
    )


def test_an_obstacle_on_the_way_is_told_and_left(build: Any) -> None:
    result = convert(build(step=True), "toy-crate")
    assert [h.converter for h in result.manifest.hops][-1] == "mason.crate"
    (failure,) = result.failed
    assert (failure.converter, failure.error) == ("choosy.crate", "ConversionError")
    assert "cannot convert STEP in" in failure.message


def test_without_another_road_the_obstacle_is_the_answer(build: Any) -> None:
    steering = convkit.Steering(avoid=("mason", "toy.brick"), converters=("choosy",))
    with pytest.raises(NoPathError) as caught:
        convert(build(step=True), "brick", steering=steering)
    assert "STEP in a/multiply, b/multiply" in caught.value.hint


def test_plan_tells_it_without_converting(build: Any) -> None:
    found = convkit.plan("brick", model=build(step=True), plugins=PLUGINS)
    assert [p.steps[0].converter for p in found.paths] == ["toy.brick"]
    assert any(r.subject == "choosy.brick" for r in found.rejections)


def test_a_check_that_fails_itself_is_no_verdict(build: Any) -> None:
    shaky = "tests.testing.toyplugin.sideways:shaky"
    result = convkit.convert(
        source := build(), to="brick", output_dir=source.parent, plugins=(PLUGINS[0], shaky)
    )
    assert [h.converter for h in result.manifest.hops] == ["shaky.brick"]
