"""Small fingerprints of activations, by which tensors of two runtimes are told equal or not.

A fingerprint costs one pass over the values and two kilobytes for each order of axes, whatever the
tensor's size; the difference of two fingerprints still measures the difference of the tensors. So
a whole network can be compared without holding its activations.

numpy is imported inside the functions: the command line must start without it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

BUCKETS = 256
"""An estimate of a sum of squares is off by sqrt(2 / BUCKETS), that is 0.4 dB."""
ORDERS = 3
"""As it is, channels moved last, channels moved first."""
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Sketch:
    """The fingerprint of one tensor.

    Attributes:
        shape: the tensor's own.
        low, high, mean, spread: of its finite values: a change of layout leaves them alone.
        power: the sum of the squares of its finite values.
        non_finite: how many values are NaN or infinite; they count as zero otherwise.
        orders: an array (ORDERS, BUCKETS) of float64: for each order of axes the flattened values,
            each with a random sign, added up in random buckets (a count sketch).
    """

    shape: tuple[int, ...]
    low: float
    high: float
    mean: float
    spread: float
    power: float
    non_finite: int
    orders: Any

    @property
    def size(self) -> int:
        """Number of elements."""
        size = 1
        for dimension in self.shape:
            size *= dimension
        return size

    @property
    def telling(self) -> bool:
        """Whether equality with it proves anything: it varies, and has more than a few values."""
        return self.size >= 4 and self.high > self.low


def sketch(value: Any) -> Sketch:
    """The fingerprint of an array of floats."""
    import numpy as np

    array = np.asarray(value)
    finite = np.isfinite(array)
    lost = int(array.size - np.count_nonzero(finite))
    if lost:
        array = np.where(finite, array, 0)
    kept = array[finite] if lost else array
    views = [reordered(array, order) for order in range(ORDERS)]
    flat = [_count_sketch(views[0])]
    for view in views[1:]:
        same = view.shape == array.shape and view.strides == array.strides
        flat.append(flat[0] if same else _count_sketch(view))
    return Sketch(
        shape=tuple(int(d) for d in array.shape),
        low=float(kept.min()) if kept.size else 0.0,
        high=float(kept.max()) if kept.size else 0.0,
        mean=float(kept.mean(dtype=np.float64)) if kept.size else 0.0,
        spread=float(kept.std(dtype=np.float64)) if kept.size else 0.0,
        power=float(np.square(kept, dtype=np.float64).sum()),
        non_finite=lost,
        orders=np.stack(flat),
    )


def reordered(array: Any, order: int) -> Any:
    """A view with its axes in one of the orders of `Sketch.orders`; flattened, it can be held
    against another runtime's tensor whose shape may differ."""
    import numpy as np

    if order == 0 or array.ndim < 3:
        return array
    return np.moveaxis(array, 1, -1) if order == 1 else np.moveaxis(array, -1, 1)


def _count_sketch(view: Any) -> Any:
    import numpy as np

    total = np.zeros(BUCKETS)
    flat = view.reshape(-1)
    for start in range(0, flat.size, _CHUNK):
        part = flat[start : start + _CHUNK].astype(np.float64)
        buckets, signs = _chance(start // _CHUNK)
        total += np.bincount(
            buckets[: part.size], weights=part * signs[: part.size], minlength=BUCKETS
        )
    return total


@functools.lru_cache(maxsize=4)
def _chance(chunk: int) -> tuple[Any, Any]:
    """Bucket and sign for each place of a chunk: a fixed hash of the place (splitmix64), so that
    two interpreters with other versions of numpy agree."""
    import numpy as np

    with np.errstate(over="ignore"):
        z = np.arange(chunk * _CHUNK, (chunk + 1) * _CHUNK, dtype=np.uint64)
        z = (z + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    buckets = (z % np.uint64(BUCKETS)).astype(np.int64)
    signs = 1.0 - 2.0 * ((z >> np.uint64(40)) & np.uint64(1)).astype(np.float64)
    return buckets, signs
