"""Files of unknown kinship in the order and axes of the reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convkit.analysis.titles import titles_of
from convkit.artifact import Artifact, State, TensorSpec
from convkit.engine.layout import to_artifact
from convkit.engine.matching import matched
from convkit.errors import UsageError

Shape = tuple[int | str | None, ...]


def model(inputs: list[TensorSpec], outputs: list[TensorSpec]) -> Artifact:
    return Artifact(Path("m"), State("onnx"), tuple(inputs), tuple(outputs))


def spec(name: str, *shape: int | str | None, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name, shape, dtype)


@given(st.permutations([0, 1, 2]), st.booleans())
def test_inputs_are_found_by_name_whatever_their_order(order: list[int], renamed: bool) -> None:
    ours = [spec("ids", 1, 5, dtype="int64"), spec("mask", 1, 5), spec("image", 1, 3, 8, 9)]
    theirs = [ours[i] for i in order]
    if renamed:  # then by what fits
        theirs = [TensorSpec(f"serving_{s.name}", s.shape, s.dtype) for s in theirs]
    found = matched(model(ours, [spec("y", 1, 2)]), model(theirs, [spec("z", 1, 2)]))
    assert [s.name.removeprefix("serving_") for s in found.inputs] == [s.name for s in ours]
    assert not any(s.permutation for s in found.inputs)


@given(
    st.lists(st.integers(2, 6), min_size=2, max_size=3, unique=True),
    st.randoms(use_true_random=False),
)
def test_turned_axes_are_undone(sizes: list[int], random: object) -> None:
    ours = spec("x", 1, *sizes)
    for axes in ([0, 2, 1], [0, 2, 3, 1], [0, 3, 1, 2]):
        if len(axes) != len(ours.shape):
            continue
        theirs = spec("x", *(ours.shape[a] for a in axes))
        (found,) = matched(model([ours], []), model([theirs], [])).inputs
        value = np.arange(np.prod(sizes)).reshape(1, *sizes)
        np.testing.assert_array_equal(to_artifact(value, found), value.transpose(axes))


def test_equal_shapes_are_left_alone() -> None:
    square = [spec("x", 1, 3, 3, 3)]
    assert matched(model(square, []), model(square, [])).inputs[0].permutation == ()


@pytest.mark.parametrize(
    "theirs",
    [
        [spec("x", 1, 3, 16, 16)],
        [spec("x", 1, 3, 8)],
        [spec("x", 1, 3, 8, 8), spec("y", 1)],
        [],
        [spec("x", 1, 3, 8, 8, dtype="uint8")],
        [spec("x", 1, 3, 8, 8, dtype="bool")],
    ],
)
def test_other_inputs_are_refused_by_name(theirs: list[TensorSpec]) -> None:
    with pytest.raises(UsageError, match=r"the reference x \(1, 3, 8, 8\) float32"):
        matched(model([spec("x", 1, 3, 8, 8)], []), model(theirs, []))


def test_what_can_be_cast_or_quantized_is_taken() -> None:
    ours = [spec("ids", 1, 4, dtype="int64"), spec("x", 1, 3)]
    theirs = [
        spec("ids", "batch", 4, dtype="int32"),
        TensorSpec("x", (1, 3), "int8", scale=0.1, zero_point=0),
    ]
    assert matched(model(ours, []), model(theirs, [])).inputs == tuple(theirs)


def test_outputs_that_do_not_match_are_left_to_the_comparison() -> None:
    x = [spec("x", 1, 3)]
    found = matched(model(x, [spec("a", 1, 2)]), model(x, [spec("b", 1, 5)]))
    assert found.outputs == (spec("b", 1, 5),)


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=4), max_size=6))
def test_titles_are_unique_where_paths_are(parts: list[list[str]]) -> None:
    paths = list(dict.fromkeys(Path("/", *p) for p in parts))
    titles = titles_of(paths)
    assert len(set(titles)) == len(paths)
    for title, path in zip(titles, paths, strict=True):
        assert str(path).endswith(title)
