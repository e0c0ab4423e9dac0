"""The evidence that a hop kept the model's meaning, and the tolerances that judge it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal["ok", "degraded", "wrong", "unproven"]
"""`degraded`: above the floor, below the target; `unproven`: nothing could be compared."""


@dataclass(frozen=True)
class Tolerance:
    """What a precision is allowed to lose, as SQNR in dB on every output slice.

    Attributes:
        floor: below it the result is wrong.
        target: from it on the result is as good as this precision is expected to be.
    """

    floor: float
    target: float


TOLERANCES: Mapping[str, Tolerance] = {
    "fp32": Tolerance(50.0, 70.0),
    "fp16": Tolerance(30.0, 40.0),
    "int8-dynamic": Tolerance(8.0, 15.0),
    "int8": Tolerance(5.0, 12.0),
}
"""By precision; see `tolerance_of` and `docs/explanation`."""


def tolerance_of(precision: str) -> Tolerance:
    """The tolerance of a precision; one that a plugin adds is judged like int8."""
    return TOLERANCES.get(precision, TOLERANCES["int8"])


@dataclass(frozen=True)
class SliceAgreement:
    """How one slice of one output agrees with the reference, over all samples.

    Attributes:
        output: the reference's output name.
        part: which part of it, such as `[:, 0:4]`, or `all`.
        sqnr_db: signal power over error power in decibels; infinity where equal.
        cosine: cosine similarity of the flattened slices.
        max_abs: largest absolute difference.
        reference_max: largest magnitude in the reference.
        top1: share of samples whose largest class agrees, None where it is no class vector.
        constant: the reference does not vary on the samples, so agreement proves little.
        collapsed: the candidate is constant where the reference varies.
        non_finite: the candidate has NaN or infinite entries that the reference has not.
        unit: all values of the reference lie in 0..1, as scores do.
    """

    output: str
    part: str
    sqnr_db: float
    cosine: float
    max_abs: float
    reference_max: float
    top1: float | None = None
    constant: bool = False
    collapsed: bool = False
    non_finite: bool = False
    unit: bool = False


@dataclass(frozen=True)
class Verification:
    """The verdict on an artifact against the original model.

    Attributes:
        against: `original` or the predecessor's state.
        samples: how many inputs were compared; `synthetic` if they were random numbers.
        problems: in words; empty when the verdict is `ok`.
        mapping: the reference's tensor names to the artifact's own.
        seconds: wall-clock time of the comparison, inference included.
    """

    verdict: Verdict
    against: str = "original"
    samples: int = 0
    synthetic: bool = False
    slices: tuple[SliceAgreement, ...] = ()
    problems: tuple[str, ...] = ()
    mapping: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def worst(self) -> SliceAgreement | None:
        """The slice with the lowest SQNR among those that prove something."""
        telling = [s for s in self.slices if not s.constant] or list(self.slices)
        return min(telling, key=lambda s: s.sqnr_db, default=None)

    @property
    def sqnr_db(self) -> float:
        """SQNR of the worst slice in dB; minus infinity where nothing was compared."""
        return self.worst.sqnr_db if self.worst else float("-inf")
