"""Random colour backgrounds for digit scenes: numpy and Pillow only, seeded by the caller."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Canvas = NDArray[np.float32]
"""A picture in the making: float32 (height, width, 3), RGB, nominally 0..255."""


def _colour(rng: np.random.Generator) -> Canvas:
    """A random RGB colour, float32 (3,), 0..255."""
    return rng.uniform(15, 240, 3).astype(np.float32)


def _near(rng: np.random.Generator, colour: Canvas, spread: float) -> Canvas:
    """A colour within ``spread`` (0..255 units) of ``colour`` on each channel, float32 (3,)."""
    return np.clip(colour + rng.uniform(-spread, spread, 3), 0, 255).astype(np.float32)


def _grid(size: int) -> tuple[Canvas, Canvas]:
    """Pixel coordinates scaled to 0..1: x and y, each float32 (size, size)."""
    axis = np.linspace(0.0, 1.0, size, dtype=np.float32)
    return np.meshgrid(axis, axis)[0], np.meshgrid(axis, axis)[1]


def _blend(weight: Canvas, first: Canvas, second: Canvas) -> Canvas:
    """Mix two colours (3,) by a (height, width) weight in 0..1."""
    return first + weight[..., None] * (second - first)


def gradient(rng: np.random.Generator, size: int) -> Canvas:
    """A linear ramp between two colours in a random direction."""
    x, y = _grid(size)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
    ramp = (ramp - ramp.min()) / (ramp.max() - ramp.min())
    first = _colour(rng)
    return _blend(ramp, first, _near(rng, first, 130))


def texture(rng: np.random.Generator, size: int) -> Canvas:
    """Smooth colour noise: a coarse random grid enlarged to the canvas."""
    cells = int(rng.integers(3, 22))
    spread = float(rng.uniform(20, 70))
    base = _colour(rng)
    planes = []
    for channel in range(3):
        coarse = rng.uniform(-spread, spread, (cells, cells)).astype(np.float32) + base[channel]
        planes.append(np.asarray(Image.fromarray(coarse).resize((size, size), 3), np.float32))
    return np.stack(planes, axis=-1)


def stripes(rng: np.random.Generator, size: int) -> Canvas:
    """Soft or hard stripes of two colours at a random angle and period."""
    x, y = _grid(size)
    angle = rng.uniform(0, np.pi)
    periods = rng.uniform(2, 16)
    phase = rng.uniform(0, 2 * np.pi)
    along = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
    wave = np.sin(along * np.float32(2 * np.pi * periods) + np.float32(phase))
    hardness = np.float32(rng.uniform(1, 6))
    weight = np.clip(wave * hardness * np.float32(0.5) + np.float32(0.5), 0, 1)
    first = _colour(rng)
    return _blend(weight, first, _near(rng, first, 60))


def blobs(rng: np.random.Generator, size: int) -> Canvas:
    """Gaussian patches of several colours over a flat ground."""
    x, y = _grid(size)
    canvas = np.broadcast_to(_colour(rng), (size, size, 3)).astype(np.float32)
    for _ in range(int(rng.integers(3, 10))):
        cx, cy = rng.uniform(0, 1, 2).astype(np.float32)
        radius = np.float32(rng.uniform(0.04, 0.3))
        weight = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * radius**2))
        weight = weight * np.float32(rng.uniform(0.3, 0.9))
        canvas = canvas + weight[..., None] * (_colour(rng) - canvas)
    return canvas


KINDS: tuple[Callable[[np.random.Generator, int], Canvas], ...] = (
    gradient,
    texture,
    stripes,
    blobs,
)


def _clutter(rng: np.random.Generator, canvas: Canvas) -> Canvas:
    """Draw a few strokes, arcs and boxes that are not digits."""
    size = canvas.shape[0]
    picture = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(1, 8))):
        x0, y0 = rng.uniform(0, size, 2)
        dx, dy = rng.uniform(8, size / 2, 2)
        box = (float(x0), float(y0), float(x0 + dx), float(y0 + dy))
        fill = tuple(int(v) for v in rng.integers(0, 256, 3))
        width = int(rng.integers(1, 6))
        kind = int(rng.integers(0, 3))
        if kind == 0:
            flipped = (box[0], box[3], box[2], box[1]) if rng.random() < 0.5 else box
            draw.line(flipped, fill=fill, width=width)
        elif kind == 1:
            start = float(rng.uniform(0, 360))
            draw.arc(box, start, start + float(rng.uniform(40, 200)), fill=fill, width=width)
        else:
            draw.rectangle(box, outline=fill, width=width)
    return np.asarray(picture, np.float32)


def background(rng: np.random.Generator, size: int) -> Canvas:
    """A random background: one texture kind, sometimes clutter, a little sensor noise."""
    canvas = KINDS[int(rng.integers(0, len(KINDS)))](rng, size)
    if rng.random() < 0.5:
        canvas = _clutter(rng, canvas)
    noise = rng.standard_normal(canvas.shape, dtype=np.float32)
    return np.clip(canvas + noise * np.float32(rng.uniform(0, 3)), 0, 255).astype(np.float32)
