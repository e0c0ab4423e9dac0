"""scikit-learn's handwritten digits as pictures of any exposure, turned, moved and noisy.

One sensor reading is a digit's ink times a gain that varies by a factor of a hundred, as exposures
do, plus noise. The picture is not normalized: networks learn to cope with the range, and an integer
scale that holds the brightest picture leaves few steps to the darkest. That is where the trained
networks are hard to quantize, and nothing is done to their weights for it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from convkit_samples.scenes import Split, partition

SIDE = 16
"""Height and width of a picture in pixels."""
CLASSES = 10
GAIN = (0.05, 5.0)
NOISE = 0.002

Pictures = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Pictures float32 (n, 1, SIDE, SIDE), from 0 to about 5, and their classes (n,)."""


def pictures(split: Split, count: int, seed: int) -> Pictures:
    """Draw pictures of a split; the splits have no source digit in common."""
    rng = np.random.default_rng([seed, len(split)])
    bunch = load_digits()
    ink = (bunch.images / 16.0).astype(np.float32)
    rows = rng.choice(np.array(partition()[split]), count)
    found = np.stack([_placed(rng, ink[row]) for row in rows])
    low, high = (float(np.log(gain)) for gain in GAIN)
    gain = np.exp(rng.uniform(low, high, (count, 1, 1))).astype(np.float32)
    noise = rng.normal(0, NOISE, found.shape).astype(np.float32)
    exposed = np.maximum(found * gain + noise, 0)
    return exposed[:, None].astype(np.float32), bunch.target[rows].astype(np.int64)


def _placed(rng: np.random.Generator, ink: NDArray[np.float32]) -> NDArray[np.float32]:
    """One digit in a picture, turned, scaled and moved; float32 (SIDE, SIDE) in 0..1."""
    angle, scale = np.deg2rad(rng.uniform(-20, 20)), rng.uniform(0.5, 0.72)
    cosine, sine = np.cos(angle) * scale, np.sin(angle) * scale
    middle, shift = SIDE / 2, rng.uniform(-1.2, 1.2, 2)
    source = ink.shape[0] / 2 + shift - np.array([cosine - sine, sine + cosine]) * middle
    turn = (cosine, -sine, source[0], sine, cosine, source[1])
    turned = Image.fromarray(ink).transform(
        (SIDE, SIDE), Image.Transform.AFFINE, turn, Image.Resampling.BILINEAR
    )
    return np.asarray(turned, np.float32)


def tensors(split: Split, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """As `pictures`, for torch."""
    images, labels = pictures(split, count, seed)
    return torch.from_numpy(images), torch.from_numpy(labels)


def write_data(folder: Path) -> None:
    """Write `calibration.npz` and `validation.npz`, the latter with classes under `y`."""
    images, _ = pictures("calibration", 200, 1)
    np.savez(folder / "calibration.npz", picture=images)
    images, labels = pictures("validation", 1000, 2)
    np.savez(folder / "validation.npz", picture=images, y=labels)
