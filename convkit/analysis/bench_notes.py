"""What a reader of a benchmark has to know, in words: doubts, and what explains the figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from convkit.analysis import statistics
from convkit.analysis.candidates import Candidate
from convkit.benchmark import BenchmarkRow, Machine

WAITING = 0.03
"""Share of the time; the system's own housekeeping takes less."""
DRIFT = 1.1
SPINNING = 0.03
"""Share of a processor that an idle model may use; housekeeping of the interpreter is less."""
X86_INT8 = "VNNI"
ARM_INT8 = "DOTPROD"


def notes(
    machine: Machine,
    threads: int,
    candidates: Sequence[Candidate],
    rows: Sequence[BenchmarkRow],
    own_inputs: Sequence[str],
    wanted_baseline: str,
) -> tuple[str, ...]:
    """All notes, doubts first.

    Args:
        candidates: those that were measured.
        own_inputs: titles of models that were run on inputs of their own.
        wanted_baseline: the title that the user named.
    """
    return (
        *_doubts(machine, threads, candidates, own_inputs, wanted_baseline),
        *_explanations(machine, rows),
    )


def _doubts(
    machine: Machine,
    threads: int,
    candidates: Sequence[Candidate],
    own_inputs: Sequence[str],
    wanted_baseline: str,
) -> Iterator[str]:
    titles = [c.title for c in candidates]
    if wanted_baseline and wanted_baseline not in titles and titles:
        yield f"{wanted_baseline} could not be measured: the baseline is {titles[0]} instead"
    for title in own_inputs:
        yield f"{title} takes other inputs than the rest, so it solved another problem"
    for candidate in candidates:
        if not candidate.finite:
            yield f"{candidate.title} gives NaN or infinite values on the first sample"
    share = _waiting(candidates)
    if share > WAITING:
        yield (
            f"{100 * share:.0f} % of the time models waited for a processor that other work on the "
            "machine had: it is part of all times, and left out of ratios and verdicts"
        )
    if threads > machine.cores:
        yield f"{threads} threads on {machine.cores} cores: they wait for each other"
    if any(not c.pinned and c.cores for c in candidates):
        yield "threads could not be pinned to cores here"
    changes = {c.title: statistics.drift(c.turns) for c in candidates}
    moved = {t: change for t, change in changes.items() if not 1 / DRIFT < change < DRIFT}
    if moved:
        low, high = min(moved.values()), max(moved.values())
        span = f"{low:.2f}" if len(moved) == 1 else f"{low:.2f} to {high:.2f}"
        yield (
            f"{', '.join(moved)} took {span} times as long in the second half of the run as in the "
            "first: the machine did not stay the same"
        )
    for candidate in candidates:
        share = _usual(candidate.idle)
        if share > SPINNING:
            yield (
                f"{candidate.title} kept {100 * share:.0f} % of a processor busy while others had "
                "their turns"
            )


def _explanations(machine: Machine, rows: Sequence[BenchmarkRow]) -> Iterator[str]:
    states = {row.state for row in rows if not row.error}
    integer = any("int8" in state or "int4" in state for state in states)
    if integer and X86_INT8 in machine.missing:
        yield (
            "this processor has no VNNI: an int8 multiply-accumulate takes three instructions "
            "instead of one, so integers gain little over float32"
        )
    elif integer and ARM_INT8 in machine.missing:
        yield (
            "this processor has no dot product instructions (DOTPROD): an int8 multiply-accumulate "
            "takes several instructions, so integers gain little over float32"
        )
    elif integer and "AMX INT8" in machine.features:
        yield "this processor has AMX: int8 matrix products are many times faster than float32 ones"
    elif integer and X86_INT8 in machine.features:
        yield (
            "this processor has VNNI: one instruction multiplies and accumulates four int8 values "
            "where it would do one float32 value"
        )
    if any(state.endswith("-fp16") for state in states) and machine.missing:
        native = {"AVX-512 FP16", "FP16"} & set(machine.features)
        if not native:
            yield (
                "this processor does not compute in float16: runtimes widen fp16 weights to "
                "float32, so such files are smaller, not faster"
            )


def _waiting(candidates: Sequence[Candidate]) -> float:
    turns = [turn for candidate in candidates for turn in candidate.turns]
    total = sum(sum(turn.times) for turn in turns)
    return sum(sum(turn.waited) for turn in turns) / total if total else 0.0


def _usual(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2] if values else 0.0
