"""Calibration samples against the inputs of the evaluation, and against what is declared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from convkit.analysis.lint import declared, examine
from convkit.lint import Preparation
from tests.analysis.lint_scenes import letterboxed, portrait, scenes
from tests.analysis.test_lint_samples import CLEAN, FEW_EXAMPLES, MEAN, SEEDS, STD, names

Change = Callable[[Any], Any]


def same(x: Any) -> Any:
    return x


def swapped(x: Any) -> Any:
    return x[:, ::-1]


def gray(x: Any) -> Any:
    return np.repeat(x.mean(axis=1, keepdims=True), 3, axis=1)


@pytest.mark.parametrize("scale", CLEAN.values(), ids=CLEAN)
@FEW_EXAMPLES
@given(seed=SEEDS)
def test_data_of_one_kind(tmp_path: Path, scale: Change, seed: int) -> None:
    own = portrait([scale(x) for x in scenes(40, seed)], tmp_path)
    judged = portrait([scale(x) for x in scenes(60, seed + 1)], tmp_path)
    assert names(examine(own, judged)) == []


@pytest.mark.parametrize(
    ("name", "ours", "theirs"),
    [
        ("range-mismatch", lambda x: x * 255, same),
        ("range-mismatch", same, lambda x: x * 255),
        ("range-mismatch", lambda x: x / 255, same),
        ("range-mismatch", lambda x: 2 * x - 1, same),
        ("range-mismatch", same, lambda x: 2 * x - 1),
        ("range-mismatch", same, lambda x: (x - MEAN) / STD),
        ("range-mismatch", lambda x: (x - MEAN) / STD, same),
        ("channel-order", swapped, same),
        ("channel-order", lambda x: (swapped(x) - MEAN) / STD, lambda x: (x - MEAN) / STD),
        ("stretched", same, letterboxed),
        ("gray-images", gray, same),
        ("gray-images", same, gray),
    ],
)
@FEW_EXAMPLES
@given(seed=SEEDS)
def test_planted(tmp_path: Path, name: str, ours: Change, theirs: Change, seed: int) -> None:
    own = portrait([ours(x) for x in scenes(60, seed)], tmp_path)
    judged = portrait([theirs(x) for x in scenes(100, seed + 1)], tmp_path)
    assert names(examine(own, judged)) == [name]


@FEW_EXAMPLES
@given(seed=SEEDS)
def test_the_same_pictures(tmp_path: Path, seed: int) -> None:
    pictures = scenes(100, seed)
    judged = portrait([letterboxed(x) for x in pictures], tmp_path)
    equal = portrait([letterboxed(x) for x in pictures[:40]], tmp_path)
    assert names(examine(equal, judged)) == ["validation-leak"]
    darker = portrait([letterboxed(x * 0.9) for x in pictures[:40]], tmp_path)
    assert names(examine(darker, judged)) == ["validation-leak"]


@FEW_EXAMPLES
@given(seed=SEEDS)
def test_one_stretched_picture_in_another_order_of_channels(tmp_path: Path, seed: int) -> None:
    three = {"single-sample", "channel-order", "stretched"}
    pictures = scenes(60, seed, 96, 96)
    judged = portrait([letterboxed(x, 12) for x in pictures], tmp_path, (1, 3, 96, 96))
    known = portrait([swapped(pictures[17])], tmp_path, (1, 3, 96, 96))
    assert set(names(examine(known, judged))) == {*three, "validation-leak"}
    # a picture that the evaluation does not have: its colours may be those of no light at all
    strange = portrait([swapped(x) for x in scenes(1, seed + 1, 96, 96)], tmp_path)
    assert three - {"channel-order"} <= set(names(examine(strange, judged))) <= three
    # where the light differs from picture to picture, one picture does not tell
    turned = [letterboxed(swapped(x) if k % 2 else x, 12) for k, x in enumerate(pictures)]
    mixed = portrait(turned, tmp_path, (1, 3, 96, 96))
    assert set(names(examine(strange, mixed))) == three - {"channel-order"}


def test_the_light_of_one_picture_tells_its_order_of_channels(tmp_path: Path) -> None:
    """In most cases; where the colours of the picture differ from the light's, nothing is said."""
    judged = portrait([letterboxed(x, 12) for x in scenes(60, 0, 96, 96)], tmp_path)
    others = scenes(100, 1, 96, 96)
    told = [
        "channel-order" in names(examine(portrait([swapped(other)], tmp_path), judged))
        for other in others
    ]
    assert sum(told) >= 90
    right = [examine(portrait([other], tmp_path), judged) for other in others]
    assert sum("channel-order" in names(found) for found in right) <= 1


def test_bars_that_only_some_pictures_have(tmp_path: Path) -> None:
    pictures = scenes(60, 3)
    some = [letterboxed(x) if k % 3 else x for k, x in enumerate(pictures)]
    judged = portrait(some, tmp_path)
    assert names(examine(portrait(scenes(60, 4), tmp_path), judged)) == ["stretched"]
    # one square photograph among such proves nothing
    assert names(examine(portrait(scenes(1, 4), tmp_path), judged)) == ["single-sample"]
    # and a background at all sides is no bar
    framed = [np.pad(x[:, :, 4:-4, 4:-4], ((0, 0), (0, 0), (4, 4), (4, 4))) for x in pictures]
    framed_too = portrait(framed, tmp_path)
    assert names(examine(portrait(scenes(60, 4), tmp_path), framed_too)) == []


def test_other_scales_of_what_is_no_picture(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    raw = (rng.normal(size=(200, 1, 12)) * rng.uniform(10, 900, 12)).astype(np.float32)
    scaled = (raw / raw.std(axis=0)).astype(np.float32)
    own, judged = (portrait(list(x), tmp_path, (1, 12)) for x in (raw, scaled))
    assert names(examine(own, judged)) == ["range-mismatch"]
    other = portrait([x * np.float32(1.3) for x in scaled], tmp_path, (1, 12))
    assert names(examine(other, judged)) == []


RGB = Preparation("stretch", "RGB", "NCHW")
NORMALIZED = Preparation("center-crop", "RGB", "NCHW", (0.0, 1.0), (0.485, 0.456, 0.406), (0.229,))


@pytest.mark.parametrize(
    ("own", "judged", "found"),
    [
        (RGB, RGB, []),
        (RGB, Preparation(range=(0.0, 1.0)), []),
        (RGB, Preparation("stretch", "BGR"), ["channel-order"]),
        (RGB, Preparation("stretch", "gray"), ["gray-images"]),
        (RGB, Preparation("letterbox", "RGB"), ["stretched"]),
        (Preparation("letterbox", "RGB"), RGB, ["resize-mismatch"]),
        (RGB, Preparation("stretch", range=(0.0, 255.0)), ["range-mismatch"]),
        (RGB, Preparation("stretch", mean=(0.5,), std=(0.5,)), ["range-mismatch"]),
        # the same, said in another way
        (Preparation(range=(-1.0, 1.0)), Preparation(mean=(0.5,), std=(0.5,)), []),
        (RGB, NORMALIZED, ["range-mismatch", "resize-mismatch"]),
    ],
)
def test_declarations_against_each_other(
    own: Preparation, judged: Preparation, found: list[str]
) -> None:
    assert names(tuple(declared.compared(own, judged))) == found


@pytest.mark.parametrize(
    ("own", "wrong"),
    [
        (RGB, False),
        (NORMALIZED, False),
        (
            Preparation(range=(0.0, 255.0), mean=(123.7, 116.3, 103.5), std=(58.4, 57.1, 57.4)),
            False,
        ),
        (Preparation(range=(0.0, 255.0), mean=(127.5,), std=(127.5,)), False),
        (Preparation(range=(0.0, 255.0), mean=(0.485, 0.456, 0.406), std=(0.229,)), True),
        (Preparation(mean=(123.7, 116.3, 103.5)), True),
        (Preparation(std=(127.5,)), True),
    ],
)
def test_declarations_that_contradict_themselves(own: Preparation, wrong: bool) -> None:
    assert names(tuple(declared.consistent(own))) == ["range-mismatch"] * wrong


def test_pixels_that_do_not_use_the_declared_range(tmp_path: Path) -> None:
    fine, faint = scenes(8, 0), [np.round(x) / 255 for x in scenes(8, 0)]
    for samples, found in ((fine, []), (faint, ["range-mismatch"])):
        drawn = portrait([x.astype(np.float32) for x in samples], tmp_path).inputs[0]
        assert names(tuple(declared.arriving(RGB, drawn))) == found
        assert names(tuple(declared.within(RGB, drawn))) == found
    reaching = portrait([x * 255 for x in fine], tmp_path).inputs[0]
    assert names(tuple(declared.within(RGB, reaching))) == ["range-mismatch"]
