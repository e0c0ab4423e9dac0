"""Verdicts on float results with a few values that are further off than the rest."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convkit.artifact import Artifact, State
from convkit.engine.judgement import judge
from convkit.numerics import compare
from convkit.verification import tolerance_of

RNG = np.random.default_rng(5)
LOGITS = RNG.normal(0, 60, (1, 80, 500))


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def gelu(x: Any) -> Any:
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def gelu_by_tanh(x: Any) -> Any:
    return x * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def one_off(x: Any, by: float) -> Any:
    changed = x.copy()
    changed[0, 3, 7] += by
    return changed


SCORES, FEW = sigmoid(LOGITS), RNG.normal(0, 1, (1, 80, 500))


@pytest.mark.parametrize(
    ("original", "result", "verdict"),
    [
        # sums of large numbers that nearly cancel, rounded
        (SCORES, sigmoid(LOGITS + RNG.normal(0, 2e-4, LOGITS.shape)), "ok"),
        (SCORES, one_off(SCORES, 0.01), "degraded"),
        (gelu(FEW), gelu_by_tanh(FEW), "degraded"),
        (SCORES, sigmoid(LOGITS * 1.001), "degraded"),
        (SCORES, sigmoid(LOGITS + RNG.normal(0, 1, LOGITS.shape)), "wrong"),
    ],
    ids=["rounding before a steep function", "one value", "GELU", "a scale", "noise"],
)
def test_a_steep_function_of_large_numbers_is_no_fault(
    original: Any, result: Any, verdict: str
) -> None:
    sides = [np.asarray(x, np.float32) for x in (original, result)]
    slices = compare("scores", [sides[0]], [sides[1]], quantized=False)
    candidate = Artifact(Path("x.onnx"), State("onnx", "fp32"), (), (), "", {})
    found, _, problems = judge(slices, [], candidate, tolerance_of("fp32"))
    assert found == verdict, (slices, problems)
