"""Mistakes planted in calibration samples are named; samples in order are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convkit.analysis.lint import examine
from convkit.analysis.lint.catalogue import REMEDIES
from convkit.lint import CalibrationWarning
from tests.analysis.lint_scenes import SHAPE, letterboxed, portrait, scenes

SEEDS = st.integers(0, 10_000)
FEW_EXAMPLES = settings(
    max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
MEAN = np.array([0.485, 0.456, 0.406], np.float32).reshape(1, 3, 1, 1)
NO_BLUE = np.array([1, 1, 0], np.float32).reshape(1, 3, 1, 1)
STD = np.array([0.229, 0.224, 0.225], np.float32).reshape(1, 3, 1, 1)


def names(found: tuple[CalibrationWarning, ...]) -> list[str]:
    assert all(one.remedy == REMEDIES[one.name] for one in found)
    return [one.name for one in found]


def nhwc(image: Any) -> Any:
    return np.moveaxis(image, 1, 3)


def relabelled(image: Any) -> Any:
    """What people do who reshape where they should transpose."""
    return nhwc(image).reshape(image.shape)


CLEAN: dict[str, Callable[[Any], Any]] = {
    "0..1": lambda x: x,
    "0..255": lambda x: x * 255,
    "bytes": lambda x: (x * 255).astype(np.uint8),
    "-1..1": lambda x: 2 * x - 1,
    "ImageNet": lambda x: (x - MEAN) / STD,
    "half precision": lambda x: x.astype(np.float16),
    "gray in three channels": lambda x: np.repeat(x[:, :1], 3, axis=1),
    "letterboxed": letterboxed,
}


@pytest.mark.parametrize("scale", CLEAN.values(), ids=CLEAN)
@FEW_EXAMPLES
@given(seed=SEEDS)
def test_pictures_in_order(tmp_path: Path, scale: Callable[[Any], Any], seed: int) -> None:
    assert names(examine(portrait([scale(x) for x in scenes(32, seed)], tmp_path))) == []


@FEW_EXAMPLES
@given(seed=SEEDS)
def test_pictures_in_order_of_other_shapes(tmp_path: Path, seed: int) -> None:
    channels_last = [nhwc(x) for x in scenes(32, seed)]
    assert names(examine(portrait(channels_last, tmp_path, (1, 40, 40, 3)))) == []
    one_channel = [x[:, 1:2] for x in scenes(32, seed)]
    assert names(examine(portrait(one_channel, tmp_path, (1, 1, 40, 40)))) == []
    of_any_size = scenes(16, seed, 48, 32) + scenes(16, seed + 1, 32, 64)
    assert names(examine(portrait(of_any_size, tmp_path, (1, 3, None, None)))) == []
    batched = [np.concatenate(scenes(8, seed + k)) for k in range(4)]
    assert names(examine(portrait(batched, tmp_path, (8, *SHAPE)))) == []
    open_batch = [np.concatenate(scenes(40, seed))]
    assert names(examine(portrait(open_batch, tmp_path, ("n", *SHAPE)))) == []


@FEW_EXAMPLES
@given(seed=SEEDS)
def test_data_in_order_that_are_no_pictures(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    walks = np.cumsum(rng.normal(size=(64, 1, 128)), axis=2).astype(np.float32)
    assert names(examine(portrait(list(walks), tmp_path, (1, 128)))) == []
    columns = (rng.normal(size=(200, 1, 80)) * rng.uniform(0.5, 50, 80)).astype(np.float32)
    assert names(examine(portrait(list(columns), tmp_path, (1, 80)))) == []
    # four numbers and a class: equal rows happen
    plain = rng.integers(0, 3, (200, 1, 4)).astype(np.float32)
    assert names(examine(portrait(list(plain), tmp_path, (1, 4)))) == []
    tokens = [
        (
            rng.integers(0, 5000, (1, 32)),
            np.ones((1, 32), np.int64),
            np.zeros((2, 1, 16), np.float32),
        )
        for _ in range(64)
    ]
    assert names(examine(portrait(tokens, tmp_path))) == []


PLANTED: dict[str, tuple[str, Callable[[list[Any], Any], list[Any]]]] = {
    "one": ("single-sample", lambda xs, rng: xs[:1]),
    "few": ("few-samples", lambda xs, rng: xs[:12]),
    "repeated": ("duplicates", lambda xs, rng: xs[:30] * 2),
    "a film": (
        "little-variety",
        lambda xs, rng: [np.clip(xs[0] * rng.uniform(0.95, 1.05), 0, 1) for _ in xs],
    ),
    "normal noise": ("synthetic", lambda xs, rng: [rng.normal(size=x.shape) for x in xs]),
    "uniform noise": ("synthetic", lambda xs, rng: [rng.random(x.shape) for x in xs]),
    "zeros": ("blank-samples", lambda xs, rng: [0 * x for x in xs]),
    "cast to integers": ("blank-samples", lambda xs, rng: [np.floor(x * 0.999) for x in xs]),
    "no blue": ("constant-channel", lambda xs, rng: [x * NO_BLUE for x in xs]),
    "one in 0..255": ("outliers", lambda xs, rng: [*xs[:-1], xs[-1] * 255]),
    "reshaped": ("layout", lambda xs, rng: [relabelled(x) for x in xs]),
}


@pytest.mark.parametrize(("name", "spoil"), PLANTED.values(), ids=PLANTED)
@FEW_EXAMPLES
@given(seed=SEEDS)
def test_planted(
    tmp_path: Path, name: str, spoil: Callable[[list[Any], Any], list[Any]], seed: int
) -> None:
    spoiled = spoil(scenes(60, seed), np.random.default_rng(seed))
    found = names(examine(portrait([x.astype(np.float32) for x in spoiled], tmp_path)))
    assert name in found
    # zeros are also all the same
    assert set(found) <= {name, "duplicates"}


@FEW_EXAMPLES
@given(seed=SEEDS)
def test_relabelled_for_channels_last(tmp_path: Path, seed: int) -> None:
    reshaped = [x.reshape(1, 40, 40, 3) for x in scenes(40, seed)]
    assert names(examine(portrait(reshaped, tmp_path, (1, 40, 40, 3)))) == ["layout"]


@FEW_EXAMPLES
@given(seed=SEEDS)
def test_noise_that_is_no_picture(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(64, 1, 16, 24)).astype(np.float32)
    assert names(examine(portrait(list(noise), tmp_path, (1, 16, 24)))) == ["synthetic"]


def test_the_input_is_named_where_there_are_several(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pairs = [(x, rng.random(x.shape).astype(np.float32)) for x in scenes(40, 1)]
    (found,) = examine(portrait(pairs, tmp_path))
    assert found.name == "synthetic" and found.message.startswith("input x1: ")


def test_a_warning_in_words(tmp_path: Path) -> None:
    (found,) = examine(portrait(scenes(1, 0), tmp_path))
    assert str(found).startswith("calibration data, single-sample: there is one sample")
    assert found.remedy in str(found)
