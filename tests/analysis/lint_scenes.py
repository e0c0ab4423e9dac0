"""Pictures that are made up but look like pictures, and files of samples made of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from convkit.analysis.lint.portrait import Portrait, draw
from convkit.artifact import TensorSpec
from convkit.calibration import sample_key

SIDE = 40
SHAPE = (3, SIDE, SIDE)
BARS = 114 / 255


def scene(rng: Any, height: int = SIDE, width: int = SIDE) -> Any:
    """One picture, float32 (3, height, width) in 0..1 from black to white: smooth, with shapes, a
    little grain, and warmer than gray, as the light of most photographs is."""
    coarse = rng.normal(size=(1, 4, 4)) + 0.4 * rng.normal(size=(3, 4, 4))
    rows, columns = np.linspace(0, 2.999, height), np.linspace(0, 2.999, width)
    i, j = rows.astype(int), columns.astype(int)
    down, right = (rows - i)[:, None], columns - j
    top = coarse[:, i][:, :, j] * (1 - right) + coarse[:, i][:, :, j + 1] * right
    bottom = coarse[:, i + 1][:, :, j] * (1 - right) + coarse[:, i + 1][:, :, j + 1] * right
    image = top * (1 - down) + bottom * down
    image += np.array([0.4, 0.1, -0.4])[:, None, None]
    y, x = rng.integers(2, height // 2), rng.integers(2, width // 2)
    image[:, y : y + height // 4, x : x + width // 4] += rng.normal(size=(3, 1, 1))
    image += 0.03 * rng.normal(size=image.shape)
    low, high = image.min(), image.max()
    return ((image - low) / (high - low)).astype(np.float32)


def scenes(count: int, seed: int, height: int = SIDE, width: int = SIDE) -> list[Any]:
    """Pictures with a batch axis."""
    rng = np.random.default_rng(seed)
    return [scene(rng, height, width)[None] for _ in range(count)]


def letterboxed(image: Any, bars: int = 6) -> Any:
    """The picture squeezed to fewer rows, with bars above and below."""
    height = image.shape[2]
    rows = np.linspace(0, height - 1, height - 2 * bars).round().astype(int)
    canvas = np.full_like(image, BARS)
    canvas[:, :, bars : height - bars] = image[:, :, rows]
    return canvas


def portrait(
    samples: Sequence[Any], folder: Path, shape: Sequence[Any] = (1, *SHAPE), layout: str = ""
) -> Portrait:
    """Look at samples of a model with one input, or with several where a sample is a tuple."""
    tuples = [sample if isinstance(sample, tuple) else (sample,) for sample in samples]
    path = folder / f"{len(list(folder.iterdir()))}.safetensors"
    save_file(
        {
            sample_key(number, at): np.ascontiguousarray(array)
            for number, sample in enumerate(tuples)
            for at, array in enumerate(sample)
        },
        str(path),
    )
    first = tuples[0]
    specs = [
        TensorSpec(
            f"x{at}", tuple(shape) if len(first) == 1 else array.shape, str(array.dtype), layout
        )
        for at, array in enumerate(first)
    ]
    return draw(path, len(tuples), specs)
