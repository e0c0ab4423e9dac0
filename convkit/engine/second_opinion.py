"""What else runs the original, where that costs next to nothing.

A runtime may misread a file as well as a converter: ONNX Runtime's casts to float8 and some of its
resizing differ from the standard. Held against it alone, a result that shares the mistake looks
right, and one that does not looks wrong.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from convkit.artifact import Artifact
from convkit.engine.session import Samples, Session
from convkit.plugin.runtimes import Runner
from convkit.verification import SliceAgreement, Verdict

Finding = tuple[Verdict, tuple[SliceAgreement, ...], tuple[str, ...]]
"""Verdict, slices and problems of one comparison."""

MAX_BYTES = 64_000
"""Of the model, and of the samples: an evaluator in numpy is a thousand times slower than a
runtime, so it may only be asked about models that compute next to nothing."""
SAMPLES = 2


def second_runner(
    session: Session, artifact: Artifact, samples: Samples
) -> tuple[Runner, Samples] | None:
    """Another runner than the usual one, and what to run; None where there is none or the model is
    not small. A directory is never small."""
    further = session.runners(artifact.state.format)[1:]
    small = artifact.path.is_file() and 0 < artifact.size_bytes <= MAX_BYTES
    if not further or not small or samples.path.stat().st_size > MAX_BYTES:
        return None
    return further[0], dataclasses.replace(samples, count=min(SAMPLES, samples.count))


def weighed(
    first: Finding, second: Finding, between: Sequence[str], names: tuple[str, str]
) -> Finding:
    """One finding from two, held against runtimes that contradict each other.

    A result that one of them confirms is handed out, and said to be doubtful.

    Args:
        first, second: held against the usual runtime, and against the other.
        between: in what the runtimes differ.
        names: the runtimes'.
    """
    sides = [n for n, finding in zip(names, (first, second), strict=True) if finding[0] != "wrong"]
    if not sides:
        return first
    _, slices, problems = first if first[0] != "wrong" else second
    what = "; ".join(between[:2])
    doubt = (
        f"{names[0]} and {names[1]} disagree about the original ({what}); "
        f"the result agrees with {' and '.join(sides)}"
    )
    return "degraded", slices, (doubt, *problems)
