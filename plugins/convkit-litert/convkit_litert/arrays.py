"""Arrays on their way into and out of a file's tensors."""

from __future__ import annotations

from typing import Any

from convkit.errors import ConversionError
from convkit_litert.model import Port


def encode(array: Any, port: Port) -> Any:
    """The array as the file's input wants it.

    A float array for a quantized input is quantized, rounding half to even and saturating;
    anything else is cast, integers only where every value fits.

    Raises:
        ConversionError: wrong shape, or integers that do not fit.
    """
    import numpy as np

    array, tensor = np.asarray(array), port.tensor
    if not array.ndim and tuple(tensor.signature) == (1,):
        array = array.reshape(1)  # a scalar, from a writer that knows none
    fits = len(tensor.signature) == array.ndim and all(
        size is None or size == have
        for size, have in zip(tensor.signature, array.shape, strict=True)
    )
    if not fits:
        raise ConversionError(
            f"{port.name} takes shape {list(tensor.signature)}, not {list(array.shape)}"
        )
    wanted = np.dtype(tensor.dtype)
    if tensor.quantized and np.issubdtype(array.dtype, np.floating):
        limits = np.iinfo(wanted)
        # float32 throughout, as the QUANTIZE kernel does it.
        steps = np.rint(array.astype(np.float32) / np.float32(tensor.scales[0]))
        steps = np.clip(steps + tensor.zero_points[0], limits.min, limits.max)
        return np.ascontiguousarray(steps.astype(wanted))
    if np.issubdtype(wanted, np.integer) and array.size and array.dtype != wanted:
        limits = np.iinfo(wanted)
        if array.min() < limits.min or array.max() > limits.max:
            raise ConversionError(f"{port.name} was given values that {wanted.name} cannot hold")
    return np.ascontiguousarray(array.astype(wanted, copy=False))


def decode(array: Any, port: Port) -> Any:
    """The array as the caller wants it: float32 from a quantized output, else unchanged."""
    import numpy as np

    tensor = port.tensor
    if not tensor.quantized:
        return array
    centred = array.astype(np.float32) - np.float32(tensor.zero_points[0])
    return centred * np.float32(tensor.scales[0])


def zeros(port: Port) -> Any:
    """A valid array for an input: all zeros, dynamic dimensions as stored."""
    import numpy as np

    return np.zeros(port.tensor.shape, dtype=np.dtype(port.tensor.dtype))
