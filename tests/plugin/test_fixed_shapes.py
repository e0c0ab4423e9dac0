"""Fixed shapes from stated ones, symbols and the batch size."""

from __future__ import annotations

import pytest

from convkit.artifact import TensorSpec
from convkit.errors import ConversionError
from convkit.plugin.shapes import fixed_shapes


def spec(name: str, *shape: int | str | None) -> TensorSpec:
    return TensorSpec(name, shape, "float32")


def test_fixed_sizes_stay() -> None:
    assert fixed_shapes([spec("x", 1, 3)], {}, 4) == {"x": (1, 3)}


@pytest.mark.parametrize("open_axis", ["batch", None])
def test_an_open_first_axis_takes_the_batch_size(open_axis: str | None) -> None:
    assert fixed_shapes([spec("x", open_axis, 3)], {}, 4) == {"x": (4, 3)}


def test_a_symbol_has_one_size_wherever_it_stands() -> None:
    inputs = [spec("ids", "n", "s"), spec("mask", "s", "s")]
    assert fixed_shapes(inputs, {"ids": (2, 7)}, 1) == {"ids": (2, 7), "mask": (7, 7)}


def test_a_batch_is_known_before_it_stands_first() -> None:
    inputs = [spec("states", 2, "n"), spec("x", "n", 3)]
    assert fixed_shapes(inputs, {}, 5) == {"states": (2, 5), "x": (5, 3)}


def test_a_scalar_has_no_axis() -> None:
    assert fixed_shapes([spec("k")], {}, 1) == {"k": ()}


def test_an_unknown_rank_is_taken_as_stated() -> None:
    assert fixed_shapes([spec("x")], {"x": (2, 3)}, 1, unranked={"x"}) == {"x": (2, 3)}


@pytest.mark.parametrize("shape", [("n", "s"), ("n", None)])
def test_a_missing_size_is_asked_for(shape: tuple[str | None, ...]) -> None:
    with pytest.raises(ConversionError, match="x has no fixed size on axis 1") as caught:
        fixed_shapes([spec("x", *shape)], {}, 1)
    assert "--shape x=NxN" in caught.value.hint


def test_a_missing_rank_is_asked_for() -> None:
    with pytest.raises(ConversionError, match="unknown rank"):
        fixed_shapes([spec("x")], {}, 1, unranked={"x"})


@pytest.mark.parametrize(
    ("shape", "given"),
    [((1, 3), (2, 3)), ((1, 3), (1, 3, 1)), (("n", "n"), (2, 3)), ((), (1,))],
)
def test_a_contradiction_is_refused(shape: tuple[int | str, ...], given: tuple[int, ...]) -> None:
    with pytest.raises(ConversionError, match="x cannot be"):
        fixed_shapes([spec("x", *shape)], {"x": given}, 1)
