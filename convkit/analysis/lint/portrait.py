"""What a set of samples looks like: everything that the checks need, gathered in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convkit.analysis.lint.pixels import Look, layout_of, look
from convkit.artifact import TensorSpec
from convkit.engine.sample_files import samples_in

Array = Any
"""A numpy array; numpy is imported inside functions."""

MOST_LOOKS = 128
"""So many samples, spread evenly over the set, are looked at closely; all are told apart."""
MOST_VALUES = 4096
"""So many leading values of a sample without images are kept."""
_STRIDE_TO = 1 << 16
"""Two samples that agree in so many values, evenly spread, are the same."""


@dataclass(frozen=True)
class InputPortrait:
    """One input over the samples that were looked at.

    Attributes:
        kind: `image`, `float`, or `integer` (codes, masks: no arithmetic meaning is assumed).
        layout: of images as they arrive: `NCHW` or `NHWC`.
        free: whether the length of the first axis is open in the model.
        lengths: of the first axis, per sample.
        lows, highs, means, stds: float64 (samples,).
        looks: of images, the first of each sample's batch.
        rows: float64 (samples, k), the leading values of each sample, of floats that are no images
            where all samples are of one shape; else None.
        size: values in a sample.
    """

    name: str
    kind: str
    layout: str
    free: bool
    lengths: tuple[int, ...]
    lows: Array
    highs: Array
    means: Array
    stds: Array
    looks: tuple[Look, ...]
    rows: Array | None
    size: int

    @property
    def blank(self) -> Array:
        """Which samples hold one value only, bool (samples,)."""
        same: Array = self.lows == self.highs
        return same


@dataclass(frozen=True)
class Portrait:
    """A set of samples.

    Attributes:
        count: samples in the set.
        digests: of every sample, all inputs together.
        inputs: in the order of the model's.
    """

    count: int
    digests: tuple[str, ...]
    inputs: tuple[InputPortrait, ...]

    @property
    def items(self) -> int:
        """How many examples the samples hold: images and open batches are counted one by one."""
        first = self.inputs[0]
        if first.kind == "image" or first.free:
            looked = max(1, len(first.lengths))
            return round(sum(first.lengths) / looked * self.count)
        return self.count

    @property
    def tiny(self) -> bool:
        """Whether a sample holds so few values that equal samples may be chance."""
        return sum(entry.size for entry in self.inputs) < 16


def draw(path: Path, count: int, specs: Sequence[TensorSpec]) -> Portrait:
    """Look at the first `count` samples of a file as `CalibrationData` describes it.

    One sample is held in memory at a time.
    """
    import numpy as np

    # rounded, so that the first and the last are among them
    chosen = set(np.linspace(0, count - 1, min(count, MOST_LOOKS)).round().astype(int).tolist())
    digests: list[str] = []
    gathered: list[list[_Glance]] = [[] for _ in specs]
    for number, arrays in enumerate(samples_in(path, count)):
        digests.append(_digest(arrays))
        if number in chosen:
            for array, spec, kept in zip(arrays, specs, gathered, strict=True):
                kept.append(_glance(array, spec))
    inputs = tuple(_merge(kept, spec) for kept, spec in zip(gathered, specs, strict=True))
    return Portrait(count, tuple(digests), inputs)


@dataclass(frozen=True)
class _Glance:
    """One input of one sample."""

    kind: str
    layout: str
    length: int
    low: float
    high: float
    mean: float
    std: float
    look: Look | None
    row: Array
    shape: tuple[int, ...]


def _digest(arrays: Sequence[Array]) -> str:
    import hashlib

    import numpy as np

    state = hashlib.sha256()
    for array in arrays:
        flat = array.reshape(-1)
        step = max(1, flat.size // _STRIDE_TO)
        step += step > 1 and step % 2 == 0  # odd: columns and channels are then all met
        state.update(f"{array.dtype} {array.shape}".encode())
        state.update(np.ascontiguousarray(flat[::step]).tobytes())
    return state.hexdigest()


def _glance(array: Array, spec: TensorSpec) -> _Glance:
    import numpy as np

    real = array.dtype.kind == "f"
    layout = layout_of(array.shape, spec.layout) if real or array.dtype == np.uint8 else ""
    values = array.astype(np.float32) if array.dtype.kind in "fuib" else array.real
    filled = values if values.size else np.zeros(1, np.float32)
    kind = "image" if layout else ("float" if real else "integer")
    return _Glance(
        kind=kind,
        layout=layout,
        length=array.shape[0] if array.ndim else 1,
        low=float(filled.min()),
        high=float(filled.max()),
        mean=float(filled.mean(dtype=np.float64)),
        std=float(filled.std(dtype=np.float64)),
        look=look(values[0], layout) if layout and len(values) else None,
        row=values.reshape(-1)[:MOST_VALUES].astype(np.float64) if kind == "float" else None,
        shape=tuple(array.shape),
    )


def _merge(glances: Sequence[_Glance], spec: TensorSpec) -> InputPortrait:
    import numpy as np

    one_kind = len({(g.kind, g.layout) for g in glances}) == 1
    kind = glances[0].kind if one_kind else "float"
    looks = tuple(g.look for g in glances if g.look is not None)
    even = kind == "float" and one_kind and len({g.shape for g in glances}) == 1
    return InputPortrait(
        name=spec.name,
        kind=kind,
        layout=glances[0].layout if one_kind else "",
        free=bool(spec.shape) and not isinstance(spec.shape[0], int),
        lengths=tuple(g.length for g in glances),
        lows=np.array([g.low for g in glances]),
        highs=np.array([g.high for g in glances]),
        means=np.array([g.mean for g in glances]),
        stds=np.array([g.std for g in glances]),
        looks=looks if kind == "image" else (),
        rows=np.stack([g.row for g in glances]) if even else None,
        size=int(np.prod(glances[0].shape, dtype=np.int64)),
    )
