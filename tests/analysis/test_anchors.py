"""What is expected of a set where the error of another one was measured."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convkit.analysis.sensitivity.noise import Anchor, Noise, expected, known
from convkit.plugin.ranking import Together
from convkit.quant import LayerInfo

NOTHING = np.zeros(4, np.bool_)


@given(st.floats(-12.0, 12.0), st.lists(st.integers(0, 3), unique=True))
def test_what_was_measured_is_expected_and_less_is_less(growth: float, rest: list[int]) -> None:
    """However far first order is off, in either direction."""
    matrix, measured = np.diag([1.0, 0.5, 0.25, 0.125]), 1.875 * math.exp(growth)
    sets = np.tril(np.ones((4, 4), np.bool_))
    some = NOTHING.copy()
    some[rest] = True
    found = expected(matrix, np.concatenate([sets, [NOTHING, some]]), [(NOTHING, 1.875, measured)])
    assert found[3] == pytest.approx(measured)
    assert (np.diff(found[:4]) > 0).all()
    assert found[4] == 0.0
    assert found[5] <= found[3] * (1 + 1e-9)


def test_small_errors_stay_of_first_order() -> None:
    matrix = np.diag([1.0, 1e-6])
    sets = np.array([[False, True]])
    for measured in (0.25, 4.0):
        anchors = [(NOTHING[:2], 1.0, measured)]
        assert expected(matrix, sets, anchors)[0] == pytest.approx(1e-6, rel=3e-3)


def test_the_smallest_measured_set_that_holds_all_of_it_counts() -> None:
    matrix = np.eye(4)
    worst = np.array([True, False, False, False])
    anchors = [(NOTHING, 4.0, 40.0), (worst, 3.0, 3.0)]
    sets = np.array([[True] * 4, [False, True, True, True], [False, True, False, False]])
    assert expected(matrix, sets, anchors) == pytest.approx([40.0, 3.0, 1.0])


def test_layers_in_float_take_their_tensors_out_of_a_measured_set() -> None:
    layers = (
        LayerInfo("first", "Conv", ("image",), ("a",), 9, 9),
        LayerInfo("second", "Conv", ("a",), ("b",), 9, 9),
    )
    rng = np.random.default_rng(0)
    tensors = {name: rng.standard_normal(4000) for name in ("image", "a", "b")}
    weights = {name: 0.01 * rng.standard_normal(4000) for name in ("first", "second")}
    integer = {"first", "second"}
    plain = Noise(layers, integer, tensors, weights)
    anchors = (
        Anchor(frozenset(), frozenset(), plain.error([]), 30.0),
        Anchor(frozenset({"image"}), frozenset({"first"}), 2.0, 2.0),
    )
    noise = Noise(layers, integer, tensors, weights, anchors)
    assert noise.error([]) == pytest.approx(30.0)
    # the image and the first weights are out of it: the second measured set holds what is left
    assert noise.error(["first"]) == pytest.approx(plain.error(["first"]), rel=0.1)
    assert noise.error(["second"]) > 2.0 * plain.error(["second"])


def test_errors_that_cannot_be_compared_are_left_out() -> None:
    effects = np.random.default_rng(1).standard_normal((8, 3))
    every, none = np.ones(3, np.bool_), np.zeros(3, np.bool_)
    together = [Together(every, none, error) for error in (math.inf, 0.0, math.nan, 7.0)]
    ((spared, first, measured),) = known(effects, np.zeros((8, 3)), together)
    assert not spared.any()
    assert first > 0.0
    assert measured == 7.0
