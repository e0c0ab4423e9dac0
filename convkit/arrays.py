"""Calibration data in files of arrays: `.npz`, `.npy` and `.safetensors`. Nothing is unpickled."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convkit.artifact import Artifact, TensorSpec
from convkit.calibration import sample_key
from convkit.errors import CalibrationError
from convkit.samples import Array, batch_of, choose, conform, listed

SUFFIXES = (".npz", ".npy", ".safetensors")

LABELS = ("y", "label", "labels", "target", "targets")
"""Keys that hold what a metric is about, and no input of a model that has none of that name."""

PAIR = ("x.npy", "y.npy")

_DRAINED = re.compile(r"(\d{6,})/\d+")


@dataclass(frozen=True)
class ArraySource:
    """Reads array files.

    - `.npz`, `.safetensors`: one array per model input, keyed by the input's name (any key where
      the model has one input), samples along the leading axis. Labels may lie beside them, under
      one of `LABELS`.
    - `.npy`: samples of the only input along the leading axis.
    - a `.safetensors` file that `drain` wrote.
    - a folder with `x.npy` and `y.npy`: samples and their labels.
    - a folder of such files: each file is one sample.

    A sample may come without its batch axis where the model's batch is 1 or free.
    """

    name: str = "arrays"
    requirements: tuple[str, ...] = ("numpy", "safetensors")

    def accepts(self, path: Path) -> bool:
        """Whether the path is an array file, or a folder with at least one directly inside."""
        if path.is_dir():
            return any(_is_array_file(entry) for entry in path.iterdir())
        return path.suffix.lower() in SUFFIXES

    def files(self, path: Path) -> tuple[Path, ...]:
        """The file itself, or the folder's array files, sorted by name."""
        if path.is_dir():
            return tuple(sorted(entry for entry in path.iterdir() if _is_array_file(entry)))
        return (path,)

    def describe(self, path: Path, artifact: Artifact, overrides: Mapping[str, Any]) -> str:
        """Nothing is done to arrays."""
        return ""

    def read(
        self,
        path: Path,
        artifact: Artifact,
        overrides: Mapping[str, Any],
        limit: int | None,
        seed: int,
    ) -> Iterator[tuple[Array, ...]]:
        """Yield samples in the order of `artifact.inputs`, batch axis included.

        `limit` samples are chosen by `seed`; a larger limit adds to the choice of a smaller one.

        Raises:
            CalibrationError: unreadable, without samples, or not what the model takes.
        """
        if overrides:
            raise CalibrationError(
                f"{path} holds arrays, which take no transform ({', '.join(sorted(overrides))})",
                hint="Save the arrays as the model takes them, or give a folder of images.",
            )
        specs = artifact.inputs
        for label, _, arrays in self._stored(path, specs, limit, seed):
            yield from conform(arrays, specs, label)

    def samples(
        self, path: Path, artifact: Artifact, limit: int | None
    ) -> Iterator[tuple[str, tuple[Array, ...]]]:
        """The first samples in the order of rows, or of file names.

        Raises:
            CalibrationError: see `read`.
        """
        for label, name, arrays in self._stored(path, artifact.inputs, limit, None):
            for sample in conform(arrays, artifact.inputs, label):
                yield name, sample

    def _stored(
        self, path: Path, specs: Sequence[TensorSpec], limit: int | None, seed: int | None
    ) -> Iterator[tuple[str, str, list[Array]]]:
        """Label for errors, name and arrays of each sample; in their own order without a seed."""
        if path.is_dir() and _is_pair(path):
            path = path / PAIR[0]
        if path.is_dir():
            return _samples_of_folder(self.files(path), path, specs, limit, seed)
        return _samples_of_file(path, specs, limit, seed)


@dataclass(frozen=True)
class _Stored:
    """One array of a file, read on demand: `read(...)` is all of it, `read(slice)` its rows."""

    path: Path
    shape: tuple[int, ...]
    get: Callable[[Any], Array]

    def read(self, index: Any = ...) -> Array:
        with _reading(self.path):
            return self.get(index)


def _is_pair(folder: Path) -> bool:
    return all((folder / name).is_file() for name in PAIR)


def _chosen(names: Sequence[str], limit: int | None, seed: int | None) -> list[int]:
    """Indices of `limit` names: chosen by the seed, the first ones without it."""
    return list(range(len(names)))[:limit] if seed is None else choose(names, limit, seed)


def _is_array_file(path: Path) -> bool:
    hidden = path.name.startswith(".")
    return path.suffix.lower() in SUFFIXES and not hidden and path.is_file()


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn whatever a parser raises on a bad file into an error that names the file."""
    try:
        yield
    except Exception as exc:
        hint = "The file is truncated or damaged; write it again."
        if "allow_pickle" in str(exc):
            hint = "Arrays of Python objects are never loaded."
        raise CalibrationError(f"{path} cannot be read: {exc}", hint=hint) from exc


def _open(path: Path) -> dict[str, _Stored]:
    """The arrays of a file by key; a `.npy` file has one, with an empty key."""
    import numpy as np

    def stored(array: Array) -> _Stored:
        return _Stored(path, tuple(array.shape), array.__getitem__)

    with _reading(path):
        if path.suffix.lower() == ".npy":
            # Mapped: a stack of samples may be larger than memory.
            return {"": stored(np.load(path, mmap_mode="r", allow_pickle=False))}
        if path.suffix.lower() == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return {key: stored(arrays[key]) for key in arrays.files}
        from safetensors import safe_open

        handle: Any = safe_open(str(path), framework="numpy")
        keys: list[str] = handle.keys()
        return {key: _from_safetensors(path, handle, key) for key in keys}


def _from_safetensors(path: Path, handle: Any, key: str) -> _Stored:
    def get(index: Any) -> Array:
        return handle.get_tensor(key) if index is ... else handle.get_slice(key)[index]

    return _Stored(path, tuple(handle.get_slice(key).get_shape()), get)


def _match(path: Path, specs: Sequence[TensorSpec]) -> list[_Stored]:
    """The file's arrays in the order of the model's inputs: by name, or the only one."""
    arrays = _open(path)
    names = [spec.name for spec in specs]
    if all(name in arrays for name in names):
        return [arrays[name] for name in names]
    rest = [array for key, array in arrays.items() if key not in LABELS]
    if len(names) == 1 and 1 in (len(arrays), len(rest)):
        return rest if len(rest) == 1 else list(arrays.values())
    found = listed(key or "one array without a name" for key in arrays)
    raise CalibrationError(
        f"{path} holds {found}, but the model's inputs are {listed(names)}",
        hint="Save one array per input in an .npz file, with the input's name as its key.",
    )


def _samples_of_folder(
    files: Sequence[Path],
    folder: Path,
    specs: Sequence[TensorSpec],
    limit: int | None,
    seed: int | None,
) -> Iterator[tuple[str, str, list[Array]]]:
    """One sample per file."""
    if not files:
        raise CalibrationError(f"{folder} holds no {', '.join(SUFFIXES)} files")
    for index in _chosen([file.name for file in files], limit, seed):
        file = files[index]
        yield str(file), file.name, [array.read() for array in _match(file, specs)]


def _samples_of_file(
    path: Path, specs: Sequence[TensorSpec], limit: int | None, seed: int | None
) -> Iterator[tuple[str, str, list[Array]]]:
    """Samples stacked along the leading axis, or drained before."""
    if path.suffix.lower() == ".safetensors":
        arrays = _open(path)
        if arrays and all(_DRAINED.fullmatch(key) for key in arrays):
            yield from _samples_drained(path, arrays, specs, limit, seed)
            return
    stacks = _match(path, specs)
    # A stack of the model's own rank has its batches joined end to end; one of a higher rank has
    # an axis of its own for the samples.
    joined = [len(a.shape) == len(spec.shape) for a, spec in zip(stacks, specs, strict=True)]
    steps = [(batch_of(spec) or 1) if flat else 1 for flat, spec in zip(joined, specs, strict=True)]
    counts = {a.shape[0] // step if a.shape else 0 for a, step in zip(stacks, steps, strict=True)}
    shapes = ", ".join(f"{s.name} {a.shape}" for a, s in zip(stacks, specs, strict=True))
    if len(counts) > 1:
        raise CalibrationError(f"{path}: the inputs differ in number of samples: {shapes}")
    if not any(counts):
        raise CalibrationError(f"{path} does not hold a single sample: {shapes}")
    for index in _chosen([str(n) for n in range(counts.pop())], limit, seed):
        yield (
            f"{path}, sample {index}",
            str(index),
            [
                array.read(slice(index * step, index * step + step))[slice(None) if flat else 0]
                for array, step, flat in zip(stacks, steps, joined, strict=True)
            ],
        )


def _samples_drained(
    path: Path,
    arrays: Mapping[str, _Stored],
    specs: Sequence[TensorSpec],
    limit: int | None,
    seed: int | None,
) -> Iterator[tuple[str, str, list[Array]]]:
    """Samples of a file that `drain` wrote for a model with as many inputs."""
    numbers = sorted({int(key.partition("/")[0]) for key in arrays})
    if len(arrays) != len(numbers) * len(specs):
        raise CalibrationError(
            f"{path} was drained for a model with {len(arrays) // len(numbers)} inputs; this one"
            f" has {len(specs)}"
        )
    for index in _chosen([str(n) for n in numbers], limit, seed):
        number = numbers[index]
        keys = [sample_key(number, position) for position in range(len(specs))]
        yield f"{path}, sample {number}", str(number), [arrays[key].read() for key in keys]
