"""What a figure over all samples cannot show: a faint sample, and a small variation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from convkit.numerics import ROUNDING_DB, compare


def measured(reference: Any, candidate: Any) -> Any:
    """The one slice of an output, given as an array with samples in front."""
    (found,) = compare("y", list(reference), list(candidate))
    return found


@pytest.fixture
def bright() -> Any:
    return np.random.default_rng(1).standard_normal((4, 1, 3, 8, 8)).astype(np.float32)


def test_a_faint_sample(bright: Any) -> None:
    bright[2] *= 1e-3
    wrong = bright.copy()
    wrong[2] *= -1
    found = measured(bright, wrong)
    assert found.sqnr_db > 50, "drowned"
    assert found.faintest_db == pytest.approx(-6.02, abs=0.01)


def test_a_sample_of_zeros(bright: Any) -> None:
    bright[1] = 0
    assert measured(bright, bright).faintest_db == math.inf
    wrong = bright.copy()
    wrong[1] = 0.01
    assert measured(bright, wrong).faintest_db == -math.inf


def test_a_small_variation(bright: Any) -> None:
    """Its mean is not exactly the constant, hence the tenths."""
    found = measured(1000 + bright, 1000 + bright / 2)
    assert found.sqnr_db > 60, "drowned"
    assert found.varying_db == pytest.approx(5, abs=1.5)
    assert found.faintest_db > 60


def test_rounding_is_not_held_against_them(bright: Any) -> None:
    bright[3] *= 1e-7
    offset = bright + 1e5
    noise = np.random.default_rng(2).standard_normal(bright.shape)
    quiet = 10 ** (-(ROUNDING_DB + 3) / 20)
    found = measured(bright, bright + quiet * noise)
    assert found.sqnr_db > ROUNDING_DB
    assert found.faintest_db == found.varying_db == math.inf
    assert measured(offset, np.nextafter(offset, np.float32(0))).varying_db == math.inf


def test_one_sample_has_no_company(bright: Any) -> None:
    found = measured(bright[:1], bright[:1] * 2)
    assert found.faintest_db == found.varying_db == math.inf
