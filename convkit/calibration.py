"""Calibration data: drained once, hashed, and read by every worker from one safetensors file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class CalibrationData:
    """A drained set of samples.

    Attributes:
        path: a safetensors file. Its keys are `<sample>/<input>`: the sample's index in six
            digits and the *index* of the model input (`000007/0`), so that it serves artifacts
            whose input names differ. Arrays carry the batch axis.
        count: number of samples.
        digest: sha256 over samples in order (the file's own digest).
        source: what the user gave, in words.
        transform: what was done to it, in words; empty for arrays.
        limit, seed: how many samples were taken, and the seed that chose them.
        synthetic: made of random numbers; never a basis for a claim about accuracy.
    """

    path: Path
    count: int
    digest: str
    source: str
    transform: str = ""
    limit: int | None = None
    seed: int = 0
    synthetic: bool = False


def sample_key(sample: int, tensor: int) -> str:
    """The key of input or output number `tensor` of sample number `sample`."""
    return f"{sample:06d}/{tensor}"


CARRIED = frozenset(
    "bool int8 uint8 int16 uint16 int32 uint32 int64 uint64 float16 float32 float64".split()
)
"""The types of numpy's own that a file of samples holds."""


def carried_type(dtype: str) -> str:
    """The type in which a file of samples holds values of a type: reals that numpy alone does not
    know (bfloat16, float8) as float32, integers (int4) as int8. Both are exact."""
    if dtype in CARRIED:
        return dtype
    if dtype.startswith("uint"):
        return "uint8"
    return "int8" if dtype.startswith("int") else "float32"


def carried(array: Any) -> Any:
    """An array in the type that `carried_type` names."""
    own = str(array.dtype)
    wanted = carried_type(own)
    return array if own == wanted else array.astype(wanted)
