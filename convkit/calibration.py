"""Calibration data: drained once, hashed, and read by every worker from one safetensors file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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
