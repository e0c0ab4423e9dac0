"""Axes that a hop turned: chained, undone where a model is run, and told in the manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convkit
from convkit.api import Steering
from convkit.artifact import Artifact, State, TensorSpec
from convkit.engine.layout import chain, permuted, plain, to_artifact, to_original
from convkit.errors import ConversionError
from tests.testing.toyplugin import model as toy

PLUGINS = ("tests.testing.toyplugin.plugin", "tests.testing.toyplugin.sideways:turning")


@st.composite
def turns(draw: st.DrawFn) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """A shape and the permutations of a few hops, the empty one among them."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=5)))
    axes = st.permutations(range(len(shape))).map(tuple)
    return shape, draw(st.lists(axes | st.just(()), min_size=1, max_size=4))


@given(turns())
def test_hops_are_chained(case: tuple[tuple[int, ...], list[tuple[int, ...]]]) -> None:
    shape, hops = case
    original = np.arange(np.prod(shape)).reshape(shape)
    spec, value = TensorSpec("x", shape, "float32"), original
    for turn in hops:
        value = value.transpose(turn) if turn else value
        after = TensorSpec("x", value.shape, "float32", permutation=turn)
        (spec,) = chain((spec,), (after,), "inputs")
    np.testing.assert_array_equal(to_artifact(original, spec), value)
    np.testing.assert_array_equal(to_original(value, spec), original)
    assert permuted([spec]) is (spec.permutation != ())
    assert plain(Artifact(Path(), State("toy"), (spec,))).inputs[0].permutation == ()


@pytest.mark.parametrize("axes", [(0,), (0, 0), (1, 2)])
def test_an_impossible_permutation_is_refused(axes: tuple[int, ...]) -> None:
    before = (TensorSpec("x", (1, 8), "float32"),)
    after = (TensorSpec("x", (8, 1), "float32", permutation=axes),)
    with pytest.raises(ConversionError, match="no permutation"):
        chain(before, after, "inputs")


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONVKIT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "net.toy"
    toy.write(toy.build({"boxes and scores": (4, 6)}), path, "toy")
    return path


def convert(source: Path, to: str, **changes: Any) -> Any:
    return convkit.convert(source, to=to, output_dir=source.parent, plugins=PLUGINS, **changes)


def test_the_native_layout_is_verified_and_told(source: Path) -> None:
    result = convert(source, "brick", steering=Steering(io_layout="native"))
    assert [h.converter for h in result.manifest.hops] == ["sideways.brick"]
    assert result.verification.verdict == "ok"
    assert result.manifest.inputs == (TensorSpec("x", (8, 1), "float32", permutation=(1, 0)),)
    assert [s.permutation for s in result.manifest.outputs] == [(1, 0)]


def test_the_layout_of_the_source_is_the_default(source: Path) -> None:
    result = convert(source, "brick")
    assert [h.converter for h in result.manifest.hops] == ["sideways.brick"]
    assert result.manifest.inputs == (TensorSpec("x", (1, 8), "float32"),)


def test_later_hops_are_calibrated_in_the_artifacts_own_axes(source: Path) -> None:
    rng = np.random.default_rng(3)
    images = [rng.normal(size=(1, 8)).astype(np.float32) for _ in range(32)]
    steering = Steering(io_layout="native", via=("sideways",))
    result = convert(source, "brick-int8", calibration=images, steering=steering)
    assert [h.converter for h in result.manifest.hops] == ["sideways.brick", "kiln.int8"]
    assert result.verification.verdict == "ok"
    assert result.manifest.inputs[0].permutation == (1, 0)
