"""From how far outputs agree to a verdict, by the tolerances of precisions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from convkit.artifact import Artifact
from convkit.engine.second_opinion import Finding
from convkit.numerics import ROUNDING_DB
from convkit.verification import SliceAgreement, Tolerance, tolerance_of

FAINT = 0.05
"""Scores below it are no detection by any usual threshold."""
STRAY = 10.0
"""So much further may a single value be off where the error as a whole is rounding: a steep
function of large numbers (a score's sigmoid) makes more of the rounding of a few of them."""
LOST = 20.0
"""In dB: a float result whose error is a tenth of what varies between samples has lost it."""
HALVES = frozenset({"float16", "bfloat16"})
STEPS = dataclasses.replace(tolerance_of("int8-weights"), flips=tolerance_of("fp16").flips)
WIDER = {"fp16": tolerance_of("fp16"), "int8": STEPS, "int8-dynamic": STEPS}
"""Tolerances of a float32 result, by the precision of what it is held against, where that rounds
its activations: what lies between two steps goes either way, and so does all that follows."""


def tolerance_between(reference: Artifact, candidate: Artifact) -> Tolerance:
    """That of the candidate's precision; of a float32 candidate a wider one where the reference
    rounds its activations and the candidate does not."""
    own = tolerance_of(candidate.state.precision)
    if candidate.state.precision != "fp32":
        return own
    half = any(spec.dtype in HALVES for spec in reference.outputs)
    return WIDER.get("fp16" if half else reference.state.precision, own)


def judge(
    slices: Sequence[SliceAgreement],
    structural: Sequence[str],
    candidate: Artifact,
    tolerance: Tolerance,
) -> Finding:
    """A verdict on a comparison, with its reasons.

    Args:
        structural: what could not even be compared, in words.
    """
    exact = tolerance == tolerance_of("fp32")
    peak = max((item.reference_max for item in slices), default=0.0)
    wrong = list(structural)
    weak: list[str] = []
    for item in slices:
        name = f"{item.output} {item.part}" if item.part != "all" else item.output
        if item.flipped is not None and tolerance.flips < 1:
            if item.flipped:
                share = f"{name}: {100 * item.flipped:.3g} % of the integers differ"
                few = item.near or item.flipped <= tolerance.flips
                (weak if few else wrong).append(share)
        elif item.non_finite:
            wrong.append(
                f"{name}: NaN or infinite values in other places than the original has them"
            )
        elif item.reference_max == 0.0:  # no signal to hold the error against but the others'
            if item.max_abs > peak * 10 ** (-tolerance.floor / 20):
                wrong.append(f"{name}: up to {item.max_abs:.3g}, the original is zero")
        elif _faint(item, candidate):
            weak.append(
                f"{name}: scores of the original stay below {FAINT:g} on these samples, so "
                f"{item.sqnr_db:.1f} dB prove little; give samples that show what is looked for"
            )
        elif item.collapsed:
            wrong.append(f"{name}: all values are the same, the original's vary")
        elif item.sqnr_db < tolerance.floor:
            wrong.append(f"{name}: SQNR {item.sqnr_db:.1f} dB, at least {tolerance.floor:g} needed")
        elif exact and item.faintest_db < tolerance.floor:
            wrong.append(
                f"{name}: SQNR {item.faintest_db:.1f} dB in one sample, "
                f"at least {tolerance.floor:g} needed"
            )
        elif exact and item.varying_db < LOST:
            wrong.append(
                f"{name}: SQNR {item.varying_db:.1f} dB in what varies between samples, at least "
                f"{LOST:g} needed; the rest of this output is constant"
            )
        elif item.sqnr_db < tolerance.target:
            weak.append(f"{name}: SQNR {item.sqnr_db:.1f} dB, {tolerance.target:g} is usual")
        elif item.max_abs > _peak(item, tolerance) * item.reference_max:
            weak.append(
                f"{name}: a value is off by {item.max_abs:.3g}, where the largest is "
                f"{item.reference_max:.3g}; rounding explains a tenth of that at most"
            )
    constant = [s.output for s in slices if s.constant]
    notes = [f"{n}: constant on the samples, so agreement proves little" for n in constant]
    if wrong:
        return "wrong", tuple(slices), (*wrong, *weak)
    if slices and len(constant) == len(slices):
        return "unproven", tuple(slices), (*weak, *notes)
    return ("degraded" if weak else "ok"), tuple(slices), (*weak, *notes)


def _peak(item: SliceAgreement, tolerance: Tolerance) -> float:
    """The largest error of a single value that is as good as expected, relative to the largest."""
    return tolerance.peak * (STRAY if item.sqnr_db >= ROUNDING_DB else 1.0)


def _faint(item: SliceAgreement, candidate: Artifact) -> bool:
    """Scores so low that an integer's step swallows them, in the original as in the result: a
    detector that sees nothing to detect. Only integers are excused, only while both are low, and
    never a vector of classes, whose largest entry counts however small it is."""
    small = item.unit and item.reference_max < FAINT and item.max_abs < FAINT
    return small and item.top1 is None and candidate.state.precision.startswith("int")
