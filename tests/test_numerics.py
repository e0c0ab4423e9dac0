"""Figures with known values, and the slices of outputs that mix kinds."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convkit.numerics import WHOLE, Slice, compare, kinds, mixes_kinds, sqnr_db

seeds = st.integers(0, 2**32 - 1)


def detector(
    seed: int, boxes: int, classes: int, anchors: int, *, count: int = 4, pixels: float = 300.0
) -> list[Any]:
    """Boxes in pixels above scores in 0..1, channels first."""
    rng = np.random.default_rng(seed)
    return [
        np.concatenate(
            [
                rng.uniform(0.05, 1, (1, boxes, anchors)) * pixels,
                rng.uniform(0, 1, (1, classes, anchors)),
            ],
            axis=1,
        ).astype(np.float32)
        for _ in range(count)
    ]


@given(seed=seeds, boxes=st.integers(1, 6), classes=st.integers(1, 30), anchors=st.integers(30, 60))
@settings(max_examples=40, deadline=None)
def test_boxes_and_scores_are_told_apart(seed: int, boxes: int, classes: int, anchors: int) -> None:
    samples = detector(seed, boxes, classes, anchors)
    assert kinds(samples) == (Slice(1, 0, boxes), Slice(1, boxes, boxes + classes))
    assert mixes_kinds(samples)
    turned = [np.moveaxis(s, 1, 2) for s in samples]
    assert kinds(turned) == (Slice(2, 0, boxes), Slice(2, boxes, boxes + classes))


@given(seed=seeds, boxes=st.integers(2, 6), classes=st.integers(4, 30))
@settings(max_examples=40, deadline=None)
def test_boxes_and_logits_are_told_apart(seed: int, boxes: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    samples = [
        np.concatenate(
            [rng.uniform(100, 600, (1, boxes, 50)), rng.uniform(-3, 3, (1, classes, 50))], axis=1
        )
        for _ in range(4)
    ]
    assert kinds(samples) == (Slice(1, 0, boxes), Slice(1, boxes, boxes + classes))
    assert mixes_kinds(samples)


@given(
    seed=seeds,
    shape=st.sampled_from([(1, 10), (1, 1000), (1, 8, 20, 20), (1, 14, 300), (1, 128, 64)]),
    scale=st.sampled_from([1e-3, 1.0, 50.0]),
)
@settings(max_examples=40, deadline=None)
def test_uniform_outputs_are_of_one_kind(seed: int, shape: tuple[int, ...], scale: float) -> None:
    rng = np.random.default_rng(seed)
    samples = [rng.normal(0, scale, shape).astype(np.float32) for _ in range(8)]
    assert kinds(samples) == (WHOLE,)
    assert not mixes_kinds(samples)


@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_slices_cover_the_axis_without_overlap(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scales = 10.0 ** rng.integers(-3, 4, size=12)
    samples = [(rng.normal(size=(2, 12, 7)) * scales[:, None]) for _ in range(3)]
    found = kinds(samples)
    if found == (WHOLE,):
        return
    axis = found[0].axis
    edges = [(s.start, s.stop) for s in found]
    assert {s.axis for s in found} == {axis}
    assert edges[0][0] == 0 and edges[-1][1] == samples[0].shape[axis]
    assert all(a[1] == b[0] for a, b in itertools.pairwise(edges))


def test_scores_alone_do_not_mix() -> None:
    samples = [s[:, 4:] for s in detector(0, 4, 10, 50)]
    assert not mixes_kinds(samples)


def test_boxes_already_normalized_do_not_mix() -> None:
    assert not mixes_kinds(detector(0, 4, 10, 50, pixels=1.0))


@pytest.mark.parametrize(
    "samples",
    [
        [np.zeros((1, 6), np.float32)] * 3,
        [np.arange(6).reshape(1, 6)] * 3,
        [np.float32(3.0)],
        [np.zeros((1, 0, 4), np.float32)],
        [np.ones((1, 3)), np.ones((1, 4))],
        [np.full((1, 6), np.nan, np.float32)] * 2,
    ],
    ids=["zeros", "integers", "scalar", "no entries", "ragged", "nan"],
)
def test_odd_outputs_are_one_slice(samples: list[Any]) -> None:
    assert kinds(samples) == (WHOLE,)


@pytest.mark.parametrize(
    ("error", "db"), [(0.1, 20.0), (0.01, 40.0), (1e-3, 60.0), (1.0, 0.0), (10.0, -20.0)]
)
def test_sqnr_of_a_relative_error(error: float, db: float) -> None:
    reference = [np.full((1, 4), 2.0)]
    (found,) = compare("y", reference, [r * (1 + error) for r in reference])
    assert found.sqnr_db == pytest.approx(db, abs=1e-6)


def test_sqnr_at_the_ends() -> None:
    assert sqnr_db(1.0, 0.0) == math.inf
    assert sqnr_db(0.0, 1.0) == -math.inf
    assert sqnr_db(0.0, 0.0) == math.inf


@given(bits=st.integers(6, 12), seed=seeds)
@settings(max_examples=20, deadline=None)
def test_uniform_quantization_gives_six_decibels_a_bit(bits: int, seed: int) -> None:
    """6.02 dB a bit for a signal that fills the range evenly."""
    values = np.random.default_rng(seed).uniform(-1, 1, (1, 20000))
    step = 2 / 2**bits
    (found,) = compare("y", [values], [np.round(values / step) * step])
    assert found.sqnr_db == pytest.approx(6.02 * bits, abs=0.3)


@given(seed=seeds, factor=st.floats(0.1, 10))
@settings(max_examples=30, deadline=None)
def test_cosine_sees_no_length(seed: int, factor: float) -> None:
    a = np.random.default_rng(seed).normal(size=50)
    assert compare("y", [a], [a * factor])[0].cosine == pytest.approx(1.0)
    assert compare("y", [a], [-a])[0].cosine == pytest.approx(-1.0)


def test_cosine_of_zeros() -> None:
    assert compare("y", [np.zeros(3)], [np.zeros(3)])[0].cosine == 1.0
    assert compare("y", [np.zeros(3)], [np.ones(3)])[0].cosine == 0.0


def test_crushed_scores_show_in_their_own_slice() -> None:
    """What a figure over the whole tensor hides."""
    samples = detector(1, 4, 10, 50)
    step = max(float(s.max()) for s in samples) / 127
    boxes, scores = compare("y", samples, [np.round(s / step) * step for s in samples])
    assert (boxes.part, scores.part) == ("[:, 0:4]", "[:, 4:14]")
    assert boxes.sqnr_db > 30 > 5 > scores.sqnr_db
    assert scores.collapsed


def test_flags() -> None:
    rng = np.random.default_rng(0)
    varied = [rng.normal(size=(1, 5)) for _ in range(3)]
    same = [np.ones((1, 5))] * 3
    assert compare("y", same, same)[0].constant
    assert not compare("y", varied, varied)[0].constant
    assert compare("y", varied, same)[0].collapsed
    broken = [v.copy() for v in varied]
    broken[1][0, 2] = np.nan
    assert compare("y", varied, broken)[0].non_finite
    assert not compare("y", broken, broken)[0].non_finite


def test_top1_counts_samples() -> None:
    reference = [np.eye(4)[[i]] for i in range(4)]
    candidate = [np.eye(4)[[i]] for i in (0, 1, 2, 0)]
    assert compare("y", reference, candidate)[0].top1 == 0.75
    assert compare("y", [np.ones((1, 2, 3))], [np.ones((1, 2, 3))])[0].top1 is None


def test_integers_that_stand_for_themselves_are_compared_one_by_one() -> None:
    """SQNR lets a huge one hide all others, and float64 rounds what is larger than 2**53."""
    huge = np.array([2**62, 1, 2, 3], dtype=np.int64)
    (item,) = compare("y", [huge], [huge + np.array([1, 0, 0, 5], dtype=np.int64)])
    assert item.sqnr_db > 300
    assert (item.flipped, item.near) == (0.5, False)
    (item,) = compare("y", [huge], [huge + np.array([1, 0, 0, 0], dtype=np.int64)])
    assert (item.flipped, item.near) == (0.25, True)
    (item,) = compare("y", [huge], [huge.copy()])
    assert (item.flipped, item.near) == (0.0, False)


def test_quantized_integers_and_reals_are_not() -> None:
    steps = np.arange(100, dtype=np.int8)
    (item,) = compare("y", [steps], [steps + np.int8(1)], quantized=True)
    assert item.flipped is None
    (item,) = compare("y", [steps.astype(np.float32)], [steps.astype(np.float32)])
    assert item.flipped is None


def test_masks_are_integers_too() -> None:
    mask = np.array([True, False, False, True])
    (item,) = compare("y", [mask], [~mask])
    assert item.flipped == 1.0
