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

    def of(self, array: Any) -> Any:
        """The part of an array."""
        if self.axis < 0:
            return array
        return array[(slice(None),) * self.axis + (slice(self.start, self.stop),)]


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
    stacked = np.stack([np.nan_to_num(np.asarray(s, dtype=np.float64)) for s in samples])
    best: tuple[Slice, ...] = (WHOLE,)
    for axis in range(1, first.ndim):
        size = first.shape[axis]
        if not 2 <= size <= MAX_SLICED_AXIS:
            continue
        rows = np.moveaxis(stacked, axis + 1, 0).reshape(size, -1)
        cuts = _cuts(rows, vector=first.ndim == 2 and first.shape[0] == 1)
        if cuts and len(cuts) < MAX_SLICES and (len(best) == 1 or len(cuts) + 1 < len(best)):
            edges = [0, *cuts, size]
            best = tuple(Slice(axis, a, b) for a, b in itertools.pairwise(edges))
    return best


def _cuts(rows: Any, *, vector: bool) -> list[int]:
    """Where the kind changes along the rows of a matrix.

    Args:
        vector: each row is a single number per sample (logits, say), too little to tell kinds by
            magnitude: one small logit would count as one.
    """
    import numpy as np

    low, high = rows.min(axis=1), rows.max(axis=1)
    size = np.abs(rows).max(axis=1)
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
    output: str, reference: Sequence[Any], candidate: Sequence[Any]
) -> tuple[SliceAgreement, ...]:
    """Agreement per slice over all samples.

    Args:
        reference, candidate: one array per sample, equal shapes.
    """
    import numpy as np

    left = [np.asarray(a) for a in reference]
    right = [np.asarray(b) for b in candidate]
    result = []
    for part in kinds(left):
        result.append(_agreement(output, part, left, right))
    return tuple(result)


def _agreement(
    output: str, part: Slice, left: Sequence[Any], right: Sequence[Any]
) -> SliceAgreement:
    import numpy as np

    a = np.concatenate([part.of(x).astype(np.float64).ravel() for x in left])
    b = np.concatenate([part.of(x).astype(np.float64).ravel() for x in right])
    broken = bool((~np.isfinite(b) & np.isfinite(a)).any())
    both = np.isfinite(a) & np.isfinite(b)
    a, b = a[both], b[both]
    error = float(np.square(a - b).sum())
    signal = float(np.square(a).sum())
    varies = float(np.ptp(a)) if a.size else 0.0
    return SliceAgreement(
        output=output,
        part=part.label,
        sqnr_db=sqnr_db(signal, error),
        cosine=cosine(a, b),
        max_abs=float(np.abs(a - b).max()) if a.size else 0.0,
        reference_max=float(np.abs(a).max()) if a.size else 0.0,
        top1=_top1(part, left, right),
        constant=varies == 0.0 or not _varies_between(part, left),
        collapsed=varies > 0.0 and b.size > 1 and float(np.ptp(b)) == 0.0,
        non_finite=broken,
        unit=bool(a.size and a.min() >= 0.0 and a.max() <= 1.0),
    )


def sqnr_db(signal: float, error: float) -> float:
    """Signal-to-quantization-noise ratio in dB from two sums of squares."""
    if error == 0.0:
        return math.inf
    if signal == 0.0:
        return -math.inf
    return 10.0 * math.log10(signal / error)


def cosine(a: Any, b: Any) -> float:
    """Cosine similarity of two flat arrays; 1.0 for two zero vectors."""
    import numpy as np

    norm = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    if norm == 0.0:
        return 1.0 if np.array_equal(a, b) else 0.0
    return float(np.clip(np.dot(a, b) / norm, -1.0, 1.0))


def _varies_between(part: Slice, arrays: Sequence[Any]) -> bool:
    """Whether samples differ at all; with a single sample, whether the slice varies inside."""
    import numpy as np

    if len(arrays) == 1:
        return True
    first = part.of(arrays[0])
    return any(not np.array_equal(first, part.of(other)) for other in arrays[1:])


def _top1(part: Slice, left: Sequence[Any], right: Sequence[Any]) -> float | None:
    """Top-1 agreement of `(batch, classes)` outputs, else None."""
    import numpy as np

    if part.axis >= 0 or left[0].ndim != 2 or left[0].shape[1] < 2:
        return None
    if not np.issubdtype(left[0].dtype, np.floating):
        return None
    hits = [np.argmax(a, axis=1) == np.argmax(b, axis=1) for a, b in zip(left, right, strict=True)]
    return float(np.concatenate(hits).mean())
