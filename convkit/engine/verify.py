"""Running artifacts on samples and judging them against the original and the predecessor."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from convkit.artifact import RANDOM, Artifact, TensorSpec
from convkit.codec import encode
from convkit.engine import batches
from convkit.engine.digest import digest_key
from convkit.engine.judgement import judge, tolerance_between
from convkit.engine.sample_files import count_in, load_outputs
from convkit.engine.second_opinion import Finding, second_runner, weighed
from convkit.engine.session import Samples, Session, Stage
from convkit.errors import ConversionError
from convkit.plugin.runtimes import Runner
from convkit.verification import SliceAgreement, Verification, tolerance_of

OUTPUTS_FILE = "outputs.safetensors"


def outputs_of(
    session: Session, artifact: Artifact, samples: Samples, stage: Stage | None = None
) -> Path | None:
    """Run an artifact on samples; the outputs' file, or None where no runner exists."""
    runner = session.runner(artifact.state.format)
    return None if runner is None else _run(session, runner, artifact, samples, stage)


def outputs_of_original(
    session: Session, artifact: Artifact, samples: Samples, stage: Stage | None
) -> Path | None:
    """The same, by whichever runner of the format can: a result has to run where it is going to,
    an original only has to show what it computes.

    Raises:
        ConversionError: what the usual runner said, when none can.
    """
    errors: list[ConversionError] = []
    for runner in session.runners(artifact.state.format):
        try:
            return _run(session, runner, artifact, samples, stage)
        except ConversionError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return None


def _run(
    session: Session, runner: Runner, artifact: Artifact, samples: Samples, stage: Stage | None
) -> Path:
    """Run an artifact on samples, once."""
    key = digest_key(
        {
            "kind": "outputs",
            "runner": session.implementation_key("runners", runner.name, runner.requirements),
            "artifact": artifact.digest,
            "specs": [artifact.inputs, artifact.outputs],
            "samples": samples.digest,
            "count": samples.count,
        }
    )

    def make(folder: Path) -> Any:
        arguments = {
            "artifact": encode(artifact),
            "inputs": str(samples.path),
            "output": str(folder / OUTPUTS_FILE),
            "limit": samples.count,
            "threads": session.settings.threads,
        }
        return session.ask("run", "runners", runner.name, arguments, stage=stage)

    folder, _, _ = session.store.produce(key, make)
    return folder / OUTPUTS_FILE


def verify(
    session: Session,
    reference: Artifact,
    candidate: Artifact,
    samples: Samples,
    *,
    against: str,
    stage: Stage | None = None,
) -> Verification:
    """Judge a candidate by the tolerance of its precision; the verdict is stored."""
    judges = session.runners(reference.state.format), session.runners(candidate.state.format)[:1]
    key = digest_key(
        {
            "kind": "verification",
            "against": against,
            "reference": [reference.digest, encode(reference.outputs)],
            "candidate": [candidate.digest, encode(candidate.inputs), encode(candidate.outputs)],
            "samples": [samples.digest, samples.count],
            "tolerance": encode(tolerance_between(reference, candidate)),
            "runners": [
                [session.implementation_key("runners", r.name, r.requirements) for r in side]
                for side in judges
            ],
        }
    )
    from convkit.codec import decode

    def make(_: Path) -> Any:
        start = time.perf_counter()
        try:
            left = outputs_of_original(session, reference, samples, stage)
        except ConversionError as error:  # not for the hop to answer for
            problem = f"the {against} cannot be run: {error.message}"
            return encode(Verification("unproven", against, problems=(problem,)))
        right = outputs_of(session, candidate, samples, stage)
        if left is None or right is None:
            missing = reference if left is None else candidate
            problem = f"no installed runner executes {missing.state.format} files"
            return encode(Verification("unproven", against, problems=(problem,)))
        more, further, note = _in_a_batch(session, reference, candidate, samples, stage)

        def against_it(outputs: Path) -> Finding:
            own, faults = compare_outputs(reference, candidate, outputs, right)
            tolerance = tolerance_between(reference, candidate)
            return judge((*own, *more), [*faults, *further], candidate, tolerance)

        verdict, slices, judged = against_it(left)
        other = _contradiction(session, reference, samples, left, stage)
        if other is not None:
            outputs, between, names = other
            first = verdict, slices, judged
            verdict, slices, judged = weighed(first, against_it(outputs), between, names)
        if note:
            verdict, judged = ("degraded" if verdict == "ok" else verdict), (*judged, note)
        if RANDOM in reference.traits:  # agreement is luck, and difference no wonder
            verdict = "wrong" if verdict == "wrong" else "unproven"
            judged = (_by_chance(reference, against), *judged)
        return encode(
            Verification(
                verdict=verdict,
                against=against,
                samples=samples.count,
                synthetic=samples.synthetic,
                slices=slices,
                problems=judged,
                mapping=_mapping(reference, candidate),
                seconds=time.perf_counter() - start,
            )
        )

    _, document, _ = session.store.produce(key, make)
    found: Verification = decode(Verification, document)
    return found


def _by_chance(reference: Artifact, against: str) -> str:
    return (
        f"the {against} draws random numbers ({reference.traits[RANDOM]}), so no two runs of it "
        "agree: export it in eval mode, or let it take what it draws as an input"
    )


def _contradiction(
    session: Session, reference: Artifact, samples: Samples, left: Path, stage: Stage | None
) -> tuple[Path, Sequence[str], tuple[str, str]] | None:
    """Outputs of a second runtime that contradict the first one's, in what, and the names of both;
    None where they agree or a second one is not worth its time."""
    second = second_runner(session, reference, samples)
    if second is None:
        return None
    runner, few = second
    try:
        outputs = _run(session, runner, reference, few, stage)
    except ConversionError:
        return None
    slices, problems = compare_outputs(reference, reference, left, outputs)
    tolerance = tolerance_of(reference.state.precision)
    verdict, _, between = judge(slices, problems, reference, tolerance)
    if verdict != "wrong":
        return None
    return outputs, between, (session.runners(reference.state.format)[0].name, runner.name)


def _in_a_batch(
    session: Session,
    reference: Artifact,
    candidate: Artifact,
    samples: Samples,
    stage: Stage | None,
) -> tuple[tuple[SliceAgreement, ...], list[str], str]:
    """Slices and problems of two samples in one batch, where the batch axis is open; and a note if
    the candidate refuses them: that is loud, where wrong numbers would be silent."""
    both = batches.pair(session, reference, candidate, samples)
    if both is None:
        return (), [], ""
    try:
        left = outputs_of_original(session, reference, both, stage)
    except ConversionError:  # the original does not take it either
        return (), [], ""
    try:
        right = outputs_of(session, candidate, both, stage)
    except ConversionError as error:
        return (), [], f"its batch axis is open, but a batch of 2 cannot be run: {error.message}"
    if left is None or right is None:
        return (), [], ""
    slices, problems = compare_outputs(reference, candidate, left, right)
    named = tuple(dataclasses.replace(s, output=f"{s.output} in a batch") for s in slices)
    return named, [f"in a batch: {problem}" for problem in problems], ""


def compare_outputs(
    reference: Artifact, candidate: Artifact, left: Path, right: Path, limit: int | None = None
) -> tuple[tuple[SliceAgreement, ...], list[str]]:
    """Agreement of two files of outputs, slice by slice, over the first `limit` samples; and in
    words what cannot be compared."""
    from convkit.numerics import compare

    count = min(count_in(left), count_in(right))
    count = count if limit is None else min(count, limit)
    ours, theirs = load_outputs(left, count), load_outputs(right, count)
    if not len(reference.outputs) == len(ours) == len(theirs):
        counts = f"{len(ours)} of {len(reference.outputs)} outputs, the result {len(theirs)}"
        return (), [f"the original gave {counts}"]
    slices: list[SliceAgreement] = []
    problems: list[str] = []
    own_specs = candidate.outputs if len(candidate.outputs) == len(ours) else reference.outputs
    for spec, own, a, b in zip(reference.outputs, own_specs, ours, theirs, strict=True):
        other = next(((x, y) for x, y in zip(a, b, strict=True) if x.shape != y.shape), None)
        if other is not None:
            problems.append(
                f"output {spec.name}: shape {other[1].shape}, the original has {other[0].shape}"
            )
        elif (a[0].dtype.kind == "f") != (b[0].dtype.kind == "f"):
            problems.append(f"output {spec.name}: {b[0].dtype}, the original has {a[0].dtype}")
        else:
            slices.extend(compare(spec.name, a, b, quantized=_is_quantized(spec, own)))
    return tuple(slices), problems


def _is_quantized(*specs: TensorSpec) -> bool:
    return any(spec.scale is not None for spec in specs)


def _mapping(reference: Artifact, candidate: Artifact) -> dict[str, str]:
    pairs = [*zip(reference.inputs, candidate.inputs, strict=False)]
    pairs += zip(reference.outputs, candidate.outputs, strict=False)
    return {a.name: b.name for a, b in pairs}
