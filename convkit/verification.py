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
        flips: the share of integers (classes, indices, masks) that may come out otherwise where
            the arithmetic before them rounds; 1 where integers are judged by SQNR, too.
        peak: the largest error of a single value, relative to the largest value, that is as good
            as expected: another formula for the same function is off in a few places only.
    """

    floor: float
    target: float
    flips: float = 1.0
    peak: float = float("inf")


TOLERANCES: Mapping[str, Tolerance] = {
    "fp32": Tolerance(50.0, 70.0, flips=0.01, peak=1e-4),
    "fp16": Tolerance(30.0, 40.0, flips=0.05),
    "int8-weights": Tolerance(15.0, 25.0),
    "int8-dynamic": Tolerance(8.0, 15.0),
    "int4-weights": Tolerance(5.0, 12.0),
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
        non_finite: NaN or infinite entries stand in other places than in the reference.
        unit: all values of the reference lie in 0..1, as scores do.
        faintest_db: the lowest SQNR of a single sample: a faint one drowns among bright ones.
        varying_db: SQNR of what varies between samples: a large constant part says nothing.
            Both are infinity where the error is below what rounding explains.
        flipped: the share of values that differ at all, where they are integers that stand for
            themselves; else None.
        near: where some differ, none does by more than a thousandth of itself.
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
    faintest_db: float = float("inf")
    varying_db: float = float("inf")
    flipped: float | None = None
    near: bool = False


@dataclass(frozen=True)
class Divergence:
    """The first layer of the reference whose output the candidate does not reproduce.

    Attributes:
        layer, scope, op_type: in the reference: its inspector's name for the layer, the module
            path in the original source where known, the format's own operator name.
        counterpart: the candidate's layer that it was compared with; empty where none could be
            told, and then there are no values.
        reference_value, candidate_value: at `position`, where the difference is largest.
        position: index in the reference's tensor, in the reference's own order of axes.
        sqnr_db: of the candidate's tensor against the reference's; minus infinity where it has NaN
            or infinity.
        last_good, last_good_scope: the layer just before it, whose output agrees; empty where it
            is the first.
        merged: further layers of the reference that the candidate computes in one with this one,
            the last of which was compared: the fault is in one of them.
    """

    layer: str
    scope: str
    op_type: str
    counterpart: str
    reference_value: float | None
    candidate_value: float | None
    position: tuple[int, ...]
    sqnr_db: float
    last_good: str = ""
    last_good_scope: str = ""
    merged: tuple[str, ...] = ()

    def __str__(self) -> str:
        name = f"{self.scope or self.layer} ({self.op_type}"
        name += f", {self.layer})" if self.scope else ")"
        if self.merged:
            more = len(self.merged) - 1
            name += f", in one with {f'{more} more up to ' if more else ''}{self.merged[-1]}"
        text = f"first diverging layer: {name}"
        if self.reference_value is not None and self.candidate_value is not None:
            text += f": {self.reference_value:.4g} became {self.candidate_value:.4g}"
            text += f" at {list(self.position)}"
        before = self.last_good_scope or self.last_good
        return f"{text}; up to {before} all agrees" if before else text


@dataclass(frozen=True)
class Verification:
    """The verdict on an artifact against the original model.

    Attributes:
        against: `original` or the predecessor's state.
        samples: how many inputs were compared; `synthetic` if they were random numbers.
        problems: in words; empty when the verdict is `ok`.
        mapping: the reference's tensor names to the artifact's own.
        seconds: wall-clock time of the comparison, inference included.
        divergence: where a float result first departs from the reference, if that was found.
    """

    verdict: Verdict
    against: str = "original"
    samples: int = 0
    synthetic: bool = False
    slices: tuple[SliceAgreement, ...] = ()
    problems: tuple[str, ...] = ()
    mapping: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    divergence: Divergence | None = None

    @property
    def worst(self) -> SliceAgreement | None:
        """The slice with the lowest SQNR among those that prove something."""
        telling = [s for s in self.slices if not s.constant] or list(self.slices)
        return min(telling, key=lambda s: s.sqnr_db, default=None)

    @property
    def sqnr_db(self) -> float:
        """SQNR of the worst slice in dB; minus infinity where nothing was compared."""
        return self.worst.sqnr_db if self.worst else float("-inf")
