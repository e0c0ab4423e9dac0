"""Agreement of tensors: SQNR, cosine, top-1, and the slices of an output that mix kinds.

numpy is imported inside the functions: the command line must start without it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from convkit.verification import SliceAgreement

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.generic]

MAX_SLICED_AXIS = 4096
MAX_SLICES = 4
AMPLITUDE_JUMP = 8.0
"""Neighbouring parts whose typical magnitudes differ by more than this (3 bits of 8) share a
scale only at the smaller one's expense."""

ROUNDING_DB = 90.0
"""An error this far below the slice's own level is the rounding of float32 arithmetic, and not held
against a faint sample or a small variation."""

STEADY_DB = 100.0
"""What varies between samples by less than this below the slice's own level (a hundred steps of
float32) is more than float32 arithmetic can be held to: the slice counts as constant."""

NEAR = 1e-3
"""How far off onnx's own tests let a number be, of whatever type."""


@dataclass(frozen=True)
class Slice:
    """`array[..., start:stop, ...]` along `axis`; axis -1 with start 0 and stop 0 means all."""

    axis: int
    start: int
    stop: int

    @property
    def label(self) -> str:
        """As a person would write it: `[:, 0:4]`."""
        if self.axis < 0:
            return "all"
        return "[" + ":, " * self.axis + f"{self.start}:{self.stop}]"

    @property
    def index(self) -> tuple[slice, ...]:
        """What picks the part of an array."""
        if self.axis < 0:
            return ()
        return (slice(None),) * self.axis + (slice(self.start, self.stop),)

    def of(self, array: Any) -> Any:
        """The part of an array."""
        return array if self.axis < 0 else array[self.index]


WHOLE = Slice(-1, 0, 0)


def kinds(samples: Sequence[Any]) -> tuple[Slice, ...]:
    """Split an output into contiguous slices of different kinds, judged on its values.

    Boxes in pixels beside scores in 0..1 are the standing example: a shared scale crushes the
    scores while a figure over the whole tensor still looks perfect. Along each axis but the first,
    entries are told apart by whether all their values lie in 0..1, and, where none do, by a jump
    in magnitude. The axis with the fewest slices wins.

    Args:
        samples: one array per sample, all of one shape.

    Returns:
        `(WHOLE,)` where the output is of one kind.
    """
    import numpy as np

    first = np.asarray(samples[0])
    if first.ndim < 2 or not first.size or not np.issubdtype(first.dtype, np.floating):
        return (WHOLE,)
    if any(np.shape(s) != first.shape for s in samples):
        return (WHOLE,)
    arrays = [_finite(np.asarray(s)) for s in samples]
    best: tuple[Slice, ...] = (WHOLE,)
    for axis in range(1, first.ndim):
        size = first.shape[axis]
        if not 2 <= size <= MAX_SLICED_AXIS:
            continue
        rest = tuple(other for other in range(first.ndim) if other != axis)
        low = np.min([a.min(axis=rest) for a in arrays], axis=0).astype(np.float64)
        high = np.max([a.max(axis=rest) for a in arrays], axis=0).astype(np.float64)
        cuts = _cuts(low, high, vector=first.ndim == 2 and first.shape[0] == 1)
        if cuts and len(cuts) < MAX_SLICES and (len(best) == 1 or len(cuts) + 1 < len(best)):
            edges = [0, *cuts, size]
            best = tuple(Slice(axis, a, b) for a, b in itertools.pairwise(edges))
    return best


def _finite(array: Any) -> Any:
    """The array; a float64 copy with NaN as 0 and infinities as huge numbers where it has any."""
    import numpy as np

    if np.isfinite(array).all():
        return array
    return np.nan_to_num(array.astype(np.float64))


def _cuts(low: Any, high: Any, *, vector: bool) -> list[int]:
    """Where the kind changes along an axis.

    Args:
        low, high: smallest and largest value of each entry of the axis.
        vector: each entry is a single number per sample (logits, say), too little to tell kinds by
            magnitude: one small logit would count as one.
    """
    import numpy as np

    size = np.maximum(-low, high)
    if high.max() > AMPLITUDE_JUMP:  # otherwise a shared scale harms nobody
        unit = (low >= 0) & (high <= 1)
        changes = [int(i) for i in np.flatnonzero(np.diff(unit.astype(np.int8))) + 1]
        if changes:
            return changes if len(changes) == 1 or not vector else []
    if vector or size.max() == 0:
        return []
    cut = _border(np.log(np.maximum(size, 1e-12 * size.max())))
    gain = _ratio(np.median(size[:cut]), np.median(size[cut:]))
    spread = max(_spread(size[:cut]), _spread(size[cut:]))
    # a real border is a jump between two parts that are alike within; a slope is none
    return [cut] if gain > AMPLITUDE_JUMP and gain > 2 * spread else []


def _border(values: Any) -> int:
    """Where to cut so that both parts deviate least from their own means."""
    import numpy as np

    left = np.cumsum(values)[:-1]
    count = np.arange(1, len(values))
    right = values.sum() - left
    return int(np.argmax(left**2 / count + right**2 / (len(values) - count))) + 1


def _ratio(a: float, b: float) -> float:
    low, high = sorted((float(a), float(b)))
    return high / max(low, 1e-12 * max(high, 1e-300))


def _spread(values: Any) -> float:
    """Ratio of the 90th to the 10th percentile."""
    import numpy as np

    low, high = np.percentile(values, (10, 90))
    return _ratio(low, high)


def mixes_kinds(samples: Sequence[Any]) -> bool:
    """Whether one integer scale for the whole output would crush a part of it: its slices'
    magnitudes differ by more than `AMPLITUDE_JUMP`."""
    import numpy as np

    slices = kinds(samples)
    if len(slices) < 2:
        return False
    sizes = [max(float(np.abs(s.of(np.asarray(x))).max()) for x in samples) for s in slices]
    return _ratio(max(sizes), min(sizes)) > AMPLITUDE_JUMP


def compare(
    output: str, reference: Sequence[Any], candidate: Sequence[Any], *, quantized: bool = False
) -> tuple[SliceAgreement, ...]:
    """Agreement per slice over all samples.

    Args:
        reference, candidate: one array per sample, equal shapes.
        quantized: integers among them stand for real values, a step of which is rounding.
    """
    import dataclasses

    import numpy as np

    left = [np.asarray(a) for a in reference]
    right = [np.asarray(b) for b in candidate]
    result = []
    for part in kinds(left):
        result.append(_agreement(output, part, left, right))
    if not quantized and all(x.dtype.kind in "biu" for x in (*left, *right)):
        flipped, near = _flipped(left, right)
        result = [dataclasses.replace(item, flipped=flipped, near=near) for item in result]
    return tuple(result)


def _flipped(left: Sequence[Any], right: Sequence[Any]) -> tuple[float, bool]:
    """The share of integers that differ, compared in their own types, and whether those that do
    are close: SQNR would let one huge value hide all others, and float64 rounds what is larger
    than 2**53."""
    import numpy as np

    pairs = list(zip(left, right, strict=True))
    differing = sum(int(np.count_nonzero(a != b)) for a, b in pairs)
    far = (
        np.abs(a.astype(np.float64) - b.astype(np.float64)) > NEAR * np.abs(a.astype(np.float64))
        for a, b in pairs
    )
    share = float(differing / max(1, sum(a.size for a in left)))
    return share, bool(differing) and not any(x.any() for x in far)


def _agreement(
    output: str, part: Slice, left: Sequence[Any], right: Sequence[Any]
) -> SliceAgreement:
    import numpy as np

    a, b = _flat(part, left), _flat(part, right)
    finite = [np.isfinite(x) for x in a], [np.isfinite(x) for x in b]
    whole = all(m.all() and n.all() for m, n in zip(*finite, strict=True))
    broken = not whole and any(map(_misplaced, a, b))
    if not whole:
        both = [m & n for m, n in zip(*finite, strict=True)]
        a = [x[m] for x, m in zip(a, both, strict=True)]
        b = [x[m] for x, m in zip(b, both, strict=True)]
    signals = [_dot(x, x) for x in a]
    norm = math.sqrt(sum(signals)) * math.sqrt(sum(_dot(y, y) for y in b))
    products = sum(map(_dot, a, b))
    low, high = _extremes(a)
    least, most = _extremes(b)
    varies = high - low
    variation = _variation(a) if whole else math.inf
    for x, y in zip(a, b, strict=True):  # in place: the candidate's own copy is not needed again
        np.subtract(x, y, out=y)
    errors = [_dot(y, y) for y in b]
    max_abs = _magnitude(*_extremes(b))
    rounding = sum(signals) / len(signals) * 10 ** (-ROUNDING_DB / 10)
    faintest = [sqnr_db(s, e) for s, e in zip(signals, errors, strict=True) if e > rounding]
    told = math.isfinite(variation) and sum(errors) / len(errors) > rounding
    return SliceAgreement(
        output=output,
        part=part.label,
        sqnr_db=sqnr_db(sum(signals), sum(errors)),
        cosine=_cosine(products, norm, equal=max_abs == 0.0),
        max_abs=max_abs,
        reference_max=_magnitude(low, high),
        top1=_top1(part, left, right),
        constant=varies == 0.0 or variation <= sum(signals) * 10 ** (-STEADY_DB / 10),
        collapsed=varies > 0.0 and sum(y.size for y in b) > 1 and most == least,
        non_finite=broken,
        unit=any(x.size for x in a) and low >= 0 and high <= 1,
        faintest_db=min(faintest, default=math.inf) if whole and len(left) > 1 else math.inf,
        varying_db=sqnr_db(variation, sum(errors)) if told else math.inf,
    )


def _misplaced(reference: Any, candidate: Any) -> bool:
    """Whether NaN and infinities stand in other places, or infinities have another sign."""
    import numpy as np

    odd = ~(np.isfinite(reference) & np.isfinite(candidate))
    return bool(odd.any()) and not np.array_equal(reference[odd], candidate[odd], equal_nan=True)


def _flat(part: Slice, samples: Sequence[Any]) -> list[Any]:
    """A slice of every sample as a flat float64 array of its own; too small for float32 is zero."""
    import numpy as np

    flat = []
    for x in samples:
        values = part.of(x).astype(np.float64, order="C").ravel()
        if x.dtype == np.float64:
            values[np.abs(values) < np.finfo(np.float32).tiny] = 0.0
        flat.append(values)
    return flat


def _dot(x: Any, y: Any) -> float:
    """Sum of products. Not by BLAS, which wakes threads of its own for that: longer than it takes
    to sum, while the machine is busy."""
    import numpy as np

    return float(np.einsum("i,i->", x, y))


def _extremes(samples: Sequence[Any]) -> tuple[float, float]:
    """The smallest and the largest value; zeros where there is none."""
    low = min((float(x.min()) for x in samples if x.size), default=0.0)
    high = max((float(x.max()) for x in samples if x.size), default=0.0)
    return low, high


def _magnitude(low: float, high: float) -> float:
    """The largest magnitude between two extremes."""
    return max(abs(low), abs(high))


def _variation(samples: Sequence[Any]) -> float:
    """Power of what differs between samples; infinity where that cannot be told."""
    import numpy as np

    if len(samples) < 2 or any(x.shape != samples[0].shape for x in samples):
        return math.inf
    mean = sum(samples) / len(samples)
    apart = np.empty_like(mean)
    total = 0.0
    for x in samples:
        np.subtract(x, mean, out=apart)
        total += _dot(apart, apart)
    return total


def sqnr_db(signal: float, error: float) -> float:
    """Signal-to-quantization-noise ratio in dB from two sums of squares."""
    if error == 0.0:
        return math.inf
    if signal == 0.0:
        return -math.inf
    return 10.0 * math.log10(signal / error)


def _cosine(products: float, norm: float, *, equal: bool) -> float:
    """Cosine similarity from the sum of products and the product of norms; of two zero vectors
    1.0, of a zero vector and another one 0.0."""
    if norm == 0.0:
        return 1.0 if equal else 0.0
    return min(1.0, max(-1.0, products / norm))


def _top1(part: Slice, left: Sequence[Any], right: Sequence[Any]) -> float | None:
    """Top-1 agreement of `(batch, classes)` outputs, else None."""
    import numpy as np

    if part.axis >= 0 or left[0].ndim != 2 or left[0].shape[1] < 2:
        return None
    if not np.issubdtype(left[0].dtype, np.floating):
        return None
    hits = [np.argmax(a, axis=1) == np.argmax(b, axis=1) for a, b in zip(left, right, strict=True)]
    return float(np.concatenate(hits).mean())
