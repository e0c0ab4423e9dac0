"""Labelled scenes made of scikit-learn's bundled 8x8 handwritten digits (no network).

A scene is a function of ``(split, seed, index)`` alone, so any number of fresh scenes
can be drawn of a split; the splits use disjoint source digits.
"""

from functools import cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from convkit_samples.backgrounds import Canvas, background

Split = Literal["train", "calibration", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
SIZE = 160
"""Height and width of a scene in pixels."""
MAX_DIGITS = 6
MIN_SIDE = 10
"""Smallest width or height of a box in pixels."""
CLASSES = tuple(str(digit) for digit in range(10))

_SHARES: dict[Split, float] = {"train": 0.6, "calibration": 0.1, "validation": 0.15, "test": 0.15}
_PARTITION_SEED = 1797
_MAX_COVERED = 0.12  # of the smaller of two boxes

Scene = tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int64]]
"""Image uint8 (SIZE, SIZE, 3) RGB; boxes float32 (n, 4) x1 y1 x2 y2 in pixels; labels (n,)."""


@cache
def _digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """All source digits: ink float32 (1797, 8, 8) in 0..1, and their classes (1797,)."""
    bunch = load_digits()
    return (bunch.images / 16.0).astype(np.float32), bunch.target.astype(np.int64)


@cache
def partition() -> dict[Split, tuple[int, ...]]:
    """Indices into ``load_digits()`` of each split: fixed, disjoint, stratified by class."""
    _, labels = _digits()
    rng = np.random.default_rng(_PARTITION_SEED)
    chosen: dict[Split, list[int]] = {split: [] for split in SPLITS}
    for digit in range(10):
        members = rng.permutation(np.flatnonzero(labels == digit))
        bounds = np.round(np.cumsum([_SHARES[s] for s in SPLITS]) * len(members)).astype(int)
        for split, part in zip(SPLITS, np.split(members, bounds[:-1]), strict=True):
            chosen[split].extend(int(i) for i in part)
    return {split: tuple(sorted(indices)) for split, indices in chosen.items()}


def render(ink: NDArray[np.float32], width: int, height: int, degrees: float) -> Canvas:
    """Enlarge and turn one digit; return its opacity, float32 (h, w) in 0..1.

    ``ink`` is (8, 8) in 0..1; ``width`` and ``height`` are those of the 8x8 cell in pixels
    before turning. The result is cropped so that each border row and column holds at least
    one pixel of opacity 0.5 or more: its outline is the tight box.
    """
    padded = Image.fromarray(np.pad(ink, 2))
    large = padded.resize((width * 12 // 8, height * 12 // 8), Image.Resampling.BICUBIC)
    turned = np.asarray(large.rotate(degrees, Image.Resampling.BICUBIC), np.float32)
    opacity = np.clip((turned - 0.34) / 0.24, 0, 1).astype(np.float32)
    rows = np.flatnonzero((opacity >= 0.5).any(axis=1))
    columns = np.flatnonzero((opacity >= 0.5).any(axis=0))
    tight: Canvas = opacity[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return tight


def _contrasting(rng: np.random.Generator, under: Canvas) -> Canvas:
    """An ink colour (3,) whose luma differs enough from the mean of the pixels under it."""
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    ground = float(under.reshape(-1, 3).mean(axis=0) @ weights)
    wanted = float(rng.uniform(45, 105))
    for _ in range(50):
        colour = rng.uniform(0, 255, 3).astype(np.float32)
        if abs(float(colour @ weights) - ground) >= wanted:
            return colour
    return np.full(3, 0.0 if ground > 127 else 255.0, np.float32)


def _covers(box: tuple[int, int, int, int], others: list[tuple[int, int, int, int]]) -> bool:
    """Whether ``box`` hides, or is hidden by, too much of one of ``others``."""
    for other in others:
        w = min(box[2], other[2]) - max(box[0], other[0])
        h = min(box[3], other[3]) - max(box[1], other[1])
        if w > 0 and h > 0:
            areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)]
            if w * h > _MAX_COVERED * min(areas):
                return True
    return False


def scene(split: Split, index: int, seed: int = 0) -> Scene:
    """Compose scene ``index`` of a split: one to six digits over a random background."""
    rng = np.random.default_rng([SPLITS.index(split), seed, index])
    inks, classes = _digits()
    sources = partition()[split]
    canvas = background(rng, SIZE)
    boxes: list[tuple[int, int, int, int]] = []
    labels: list[int] = []
    wanted = int(rng.integers(1, MAX_DIGITS + 1))
    while len(boxes) < wanted:
        source = sources[int(rng.integers(0, len(sources)))]
        height = float(np.exp(rng.uniform(np.log(26), np.log(80))))
        width = height * float(rng.uniform(0.85, 1.2))
        opacity = render(inks[source], round(width), round(height), float(rng.uniform(-15, 15)))
        h, w = opacity.shape
        if min(h, w) < MIN_SIDE:
            continue
        for _ in range(20):
            x, y = int(rng.integers(0, SIZE - w + 1)), int(rng.integers(0, SIZE - h + 1))
            box = (x, y, x + w, y + h)
            if not _covers(box, boxes):
                under = canvas[y : y + h, x : x + w]
                weight = opacity[..., None] * np.float32(rng.uniform(0.85, 1.0))
                under += weight * (_contrasting(rng, under) - under)
                boxes.append(box)
                labels.append(int(classes[source]))
                break
        else:
            break  # no room left
    image = np.clip(np.rint(canvas), 0, 255).astype(np.uint8)
    return image, np.array(boxes, np.float32), np.array(labels, np.int64)
