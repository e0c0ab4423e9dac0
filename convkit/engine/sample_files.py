"""Files of samples or outputs: safetensors with a key for every sample and tensor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from convkit.calibration import carried, sample_key
from convkit.errors import UsageError


def samples_in(path: Path, limit: int | None = None) -> Iterator[list[Any]]:
    """The samples of a file in order, one at a time; each its tensors by index."""
    with _opened(path) as file:
        for number, tensors in islice(_numbered(file).items(), limit):
            yield [file.get_tensor(sample_key(number, t)) for t in sorted(tensors)]


def count_in(path: Path) -> int:
    """How many samples a file holds."""
    with _opened(path) as file:
        return len(_numbered(file))


def shapes_in(path: Path) -> list[tuple[int, ...]]:
    """The shapes of the tensors of a file's first sample, by index."""
    with _opened(path) as file:
        first = islice(_numbered(file).items(), 1)
        keys = [sample_key(number, t) for number, tensors in first for t in sorted(tensors)]
        return [tuple(file.get_slice(key).get_shape()) for key in keys]


def load_outputs(path: Path, count: int) -> list[list[Any]]:
    """Outputs by output index, then sample; of the first `count` samples."""
    return [list(output) for output in zip(*samples_in(path, count), strict=True)]


def write_samples(samples: Iterable[Sequence[Any]], path: Path) -> None:
    """Write samples, each its tensors in order, as one file."""
    writer = SampleWriter()
    for number, sample in enumerate(samples):
        writer.add(number, sample)
    writer.save(path)


class SampleWriter:
    """Collects samples and writes them as one file."""

    def __init__(self, budget: int | None = None) -> None:
        """`budget`: the most bytes that may be collected."""
        self._arrays: dict[str, Any] = {}
        self._left = budget
        self.count = 0

    def add(self, number: int, arrays: Sequence[Any]) -> None:
        """Take the tensors of a sample, in order.

        Raises:
            UsageError: they are more than the budget.
        """
        import numpy as np

        for index, array in enumerate(arrays):
            whole = np.ascontiguousarray(array) if np.ndim(array) else np.asarray(array)
            self._arrays[sample_key(number, index)] = carried(whole)
            if self._left is not None:
                self._left -= whole.nbytes
                if self._left < 0:
                    raise UsageError(
                        f"the samples do not fit into the free memory: it is full after"
                        f" {self.count}",
                        hint=f"Use fewer: --limit {max(1, self.count // 2)}.",
                    )
        self.count += 1

    def save(self, path: Path) -> None:
        """Write what was collected."""
        from safetensors.numpy import save_file

        save_file(self._arrays, path)


def free_memory() -> int:
    """Bytes that samples may take: what is free, less some for running the models."""
    import psutil

    return int(0.7 * psutil.virtual_memory().available)


def _opened(path: Path) -> Any:
    from safetensors import safe_open

    return safe_open(path, framework="numpy")


def _numbered(file: Any) -> dict[int, list[int]]:
    """The indices of the tensors of each sample, by its number, in order."""
    keys: dict[int, list[int]] = {}
    for key in file.keys():  # noqa: SIM118 - not a mapping
        sample, _, tensor = key.partition("/")
        keys.setdefault(int(sample), []).append(int(tensor))
    return dict(sorted(keys.items()))
