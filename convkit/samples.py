"""Samples from memory: checked against the model's inputs and drained into one file.

`from_reader` and `from_loader` adapt what people have; `drain` writes the safetensors file that
`CalibrationData` describes. numpy is imported inside functions, since importing convkit must not
load it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convkit.artifact import Artifact, TensorSpec
from convkit.calibration import carried_type, sample_key
from convkit.errors import CalibrationError

Array = Any
"""A numpy array; a name for readers, since numpy is not imported here."""


def drain(
    samples: Iterable[Any],
    artifact: Artifact,
    output: Path,
    limit: int | None = None,
    seed: int = 0,
) -> int:
    """Check samples against the model and write them to a safetensors file.

    Args:
        samples: each is an array, a sequence of arrays in the order of `artifact.inputs`, or a
            mapping from input names to arrays; torch tensors serve as well. A sample with a longer
            batch than the model's is cut into as many samples as it holds.
        output: the file to write, with keys `sample_key(sample, input)`.
        limit: the most samples to write. Where `samples` can be indexed, they are chosen by
            `seed`; else the first ones are taken.

    Returns:
        How many samples were written. They are held in memory once until then.

    Raises:
        CalibrationError: no samples, a wrong shape or dtype, or values that are not finite; the
            message names the sample.
    """
    from itertools import islice

    import numpy as np
    from safetensors.numpy import save_file

    fitting = (
        sample
        for label, raw in _enumerate(samples, limit, seed)
        for sample in conform(raw, artifact.inputs, label)
    )
    tensors: dict[str, Array] = {}
    count = 0
    for count, sample in enumerate(islice(fitting, limit), start=1):
        for index, array in enumerate(sample):
            # A copy: readers reuse their buffers, and safetensors wants contiguous memory.
            tensors[sample_key(count - 1, index)] = np.array(array, order="C", copy=True)
    if not count:
        raise CalibrationError(
            "the calibration data holds no samples",
            hint="Was a generator used up before? Give a list, a DataLoader or a folder instead.",
        )
    save_file(tensors, str(output))
    return count


def from_reader(reader: Any) -> Iterator[Mapping[str, Array]]:
    """Samples of an ONNX Runtime `CalibrationDataReader`, whose `get_next()` gives a mapping from
    input names to arrays, and None at the end. It can be read once."""
    while (sample := reader.get_next()) is not None:
        yield sample


@dataclass(frozen=True)
class _Loader:
    """A loader and what turns its items into samples; iterates anew each time."""

    loader: Iterable[Any]
    transform_fn: Callable[[Any], Any]

    def __iter__(self) -> Iterator[Any]:
        return map(self.transform_fn, self.loader)


def from_loader(loader: Iterable[Any], transform_fn: Callable[[Any], Any]) -> Iterable[Any]:
    """Samples of a torch `DataLoader` (or any iterable); `transform_fn` turns an item of the loader
    into a sample, for example `lambda item: item[0]` to drop the labels."""
    return _Loader(loader, transform_fn)


def conform(raw: Any, specs: Sequence[TensorSpec], label: str) -> Iterator[tuple[Array, ...]]:
    """Turn what the user calls a sample into samples that fit the model's inputs.

    A missing batch axis is added, a longer batch is cut into the model's own, and dtypes are cast
    where nothing is lost.

    Raises:
        CalibrationError: naming `label`.
    """
    arrays = [_as_array(value, label) for value in _by_input(raw, specs, label)]
    parts = [_batches(a, spec, label) for a, spec in zip(arrays, specs, strict=True)]
    if len({len(p) for p in parts}) > 1:
        shapes = ", ".join(f"{s.name} {a.shape}" for a, s in zip(arrays, specs, strict=True))
        raise CalibrationError(f"{label}: the inputs differ in batch length: {shapes}")
    for sample in zip(*parts, strict=True):
        yield tuple(_cast(a, spec, label) for a, spec in zip(sample, specs, strict=True))


def choose(names: Iterable[str], limit: int | None, seed: int) -> list[int]:
    """Indices of `limit` names, in an order that depends on seed and names only.

    Ordering by a digest makes a smaller choice the beginning of a larger one, and gives the same
    under every version of Python.
    """
    from hashlib import sha256

    keys = [sha256(f"{seed}/{name}".encode()).digest() for name in names]
    return sorted(range(len(keys)), key=keys.__getitem__)[:limit]


def _enumerate(samples: Any, limit: int | None, seed: int) -> Iterator[tuple[str, Any]]:
    """Label the samples of an iterable, choosing by seed where it can be indexed."""
    if isinstance(samples, Mapping) or not hasattr(samples, "__iter__"):
        raise CalibrationError(
            f"calibration data must be an iterable of samples, not a {type(samples).__name__}",
            hint="Wrap a single sample in a list; adapt a reader with convkit.samples.from_reader.",
        )
    if limit is not None and hasattr(samples, "__getitem__") and hasattr(samples, "__len__"):
        for index in choose(map(str, range(len(samples))), limit, seed):
            yield f"sample {index}", samples[index]
    else:
        for index, sample in enumerate(samples):
            yield f"sample {index}", sample


def _by_input(raw: Any, specs: Sequence[TensorSpec], label: str) -> list[Any]:
    """One value per model input."""
    names = [spec.name for spec in specs]
    if isinstance(raw, Mapping):
        missing = [name for name in names if name not in raw]
        if missing:
            raise CalibrationError(
                f"{label} has no value for input {missing[0]!r}: its keys are {listed(raw)}",
                hint=f"The model's inputs are {listed(names)}.",
            )
        return [raw[name] for name in names]
    values = list(raw) if isinstance(raw, list | tuple) else [raw]
    if len(values) != len(names):
        raise CalibrationError(
            f"{label} holds {len(values)} values, but the model's inputs are {listed(names)}",
            hint="Drop labels with convkit.samples.from_loader(loader, lambda item: item[0]).",
        )
    return values


def listed(names: Iterable[Any]) -> str:
    """Names in a row, for a message."""
    return ", ".join(map(str, names)) or "none"


def _as_array(value: Any, label: str) -> Array:
    import numpy as np

    try:
        if hasattr(value, "detach"):  # a torch tensor, possibly with gradients, on any device
            value = value.detach().cpu().numpy()
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as exc:
        raise CalibrationError(f"{label} is not an array: {exc}") from exc
    if array.dtype.kind not in "biufc":
        raise CalibrationError(f"{label} is not numeric: its dtype is {array.dtype}")
    return array


def batch_of(spec: TensorSpec) -> int | None:
    """The fixed batch length of an input, None where it is free or there is no such axis."""
    return spec.shape[0] if spec.shape and isinstance(spec.shape[0], int) else None


def _fits(shape: Sequence[int], wanted: Sequence[int | str | None]) -> bool:
    return len(shape) == len(wanted) and all(
        size == want for size, want in zip(shape, wanted, strict=True) if isinstance(want, int)
    )


def _batches(array: Array, spec: TensorSpec, label: str) -> list[Array]:
    """The array as one or several arrays of the input's shape."""
    shape, batch = tuple(array.shape), batch_of(spec)
    if _fits(shape, spec.shape):
        return [array]
    if spec.shape and batch in (1, None) and _fits(shape, spec.shape[1:]):
        return [array[None]]
    # Only a first axis beside others is taken for a batch: the 20 values of a vector of 10 are not
    # two samples.
    if batch and len(shape) > 1 and _fits(shape[1:], spec.shape[1:]) and not shape[0] % batch:
        return [array[i : i + batch] for i in range(0, shape[0], batch)]
    wanted = ", ".join("any" if size is None else str(size) for size in spec.shape)
    raise CalibrationError(
        f"{label} has shape {shape}, but input {spec.name} takes ({wanted})",
        hint="Give samples as the model takes them, one by one or stacked along the batch axis.",
    )


def _cast(array: Array, spec: TensorSpec, label: str) -> Array:
    """The array in the input's dtype, provided that it is finite and no value is lost.

    Floats may be rounded to a narrower float, as long as they stay in its range.
    """
    import numpy as np

    if array.dtype.kind in "fc" and not np.isfinite(array).all():
        raise CalibrationError(
            f"{label} holds NaN or infinite values for input {spec.name}",
            hint="Leave such samples out: they would set the range of everything.",
        )
    # An integer input that carries a scale is given floats; the session quantizes them.
    try:
        wanted = np.dtype("float32" if spec.scale is not None else carried_type(spec.dtype))
    except TypeError as exc:
        raise CalibrationError(f"numpy has no {spec.dtype}, as input {spec.name} takes") from exc
    if array.dtype == wanted:
        return array
    kinds = (array.dtype.kind, wanted.kind)
    if np.can_cast(array.dtype, wanted, "safe"):
        return array.astype(wanted)
    if kinds == ("f", "f"):
        limit = float(np.finfo(wanted).max)
        lossless = not array.size or float(np.abs(array).max()) <= limit
    elif kinds[0] in "iu" and wanted.kind in "iuf":
        if wanted.kind == "f":  # every integer of that magnitude is exact
            high = 1 << (np.finfo(wanted).nmant + 1)
            low = -high
        else:
            low, high = int(np.iinfo(wanted).min), int(np.iinfo(wanted).max)
        lossless = not array.size or (low <= int(array.min()) and int(array.max()) <= high)
    else:
        lossless = False
    if not lossless:
        raise CalibrationError(
            f"{label} is {array.dtype} and cannot become the {wanted} of input {spec.name}"
            " without loss",
            hint=f"Convert the data to {wanted} as the model expects it.",
        )
    return array.astype(wanted)
