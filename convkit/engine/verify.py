"""Running artifacts on samples and judging them against the original and the predecessor."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeGuard

from convkit.artifact import Artifact, TensorSpec
from convkit.calibration import carried_type, sample_key
from convkit.codec import encode
from convkit.engine import batches
from convkit.engine.digest import digest_key
from convkit.engine.judgement import judge, tolerance_between
from convkit.engine.second_opinion import Finding, second_runner, weighed
from convkit.engine.session import Samples, Session, Stage
from convkit.errors import ConversionError, UsageError
from convkit.plugin.runtimes import Runner
from convkit.verification import SliceAgreement, Verification, tolerance_of

OUTPUTS_FILE = "outputs.safetensors"
RANDOM_SAMPLES = (2, 4)
"""At least so many random inputs, to tell what is constant; at most so many."""
RANDOM_VALUES = 500_000
"""Inputs as large as this together are evidence enough: an image of 640 pixels a side holds
more, and running it costs as much as some conversions."""
UNKNOWN_DIMENSION = 1
LIKELY_SIZES = (64, 16, 224, 320, 8, 1)
"""Sizes of open axes, likely ones first: an image's sides that strides divide, a sentence."""
INTEGER_CEILING = 8
"""Random integer inputs stay below it: any embedding has that many rows."""


def outputs_of(
    session: Session, artifact: Artifact, samples: Samples, stage: Stage | None = None
) -> Path | None:
    """Run an artifact on samples; the outputs' file, or None where no runner exists."""
    runner = session.runner(artifact.state.format)
    return None if runner is None else _run(session, runner, artifact, samples, stage)


def _outputs_of_original(
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
            left = _outputs_of_original(session, reference, samples, stage)
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
        left = _outputs_of_original(session, reference, both, stage)
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


def random_samples(session: Session, artifact: Artifact) -> Samples:
    """Seeded inputs made from the tensor specs, for models that came without data. Where axes are
    open, sizes are tried until the original runs.

    Raises:
        UsageError: it runs with none of them.
    """
    if all(_is_known(d) for spec in artifact.inputs for d in _shape(spec, artifact)):
        return _random_samples(session, artifact, UNKNOWN_DIMENSION)
    refusal = ""
    for size in LIKELY_SIZES:
        samples = _random_samples(session, artifact, size)
        try:
            _outputs_of_original(session, artifact, samples, None)
        except ConversionError as error:
            refusal = error.message
            continue
        session.notice(f"open axes are taken as {size} for verification; --shape says otherwise")
        return samples
    raise UsageError(
        f"the sizes of open axes cannot be guessed: {refusal}",
        hint="Say them: --shape NAME=1x3x320x320, once for each input, or give --calibration.",
    )


def _random_samples(session: Session, artifact: Artifact, size: int) -> Samples:
    seed, count = session.settings.seed, _random_count(artifact, size)
    key = digest_key(
        {
            "kind": "random",
            "inputs": encode(artifact.inputs),
            "shapes": encode(artifact.read.shapes),
            "size": size,
            "seed": seed,
            "n": count,
        }
    )

    def make(folder: Path) -> Any:
        write_random(artifact, folder / OUTPUTS_FILE, count, seed, size)
        return {}

    folder, _, _ = session.store.produce(key, make)
    return Samples(folder / OUTPUTS_FILE, key, count, synthetic=True)


def _random_count(artifact: Artifact, size: int) -> int:
    values = sum(math.prod(_sizes(spec, artifact, size)) for spec in artifact.inputs)
    least, most = RANDOM_SAMPLES
    return max(least, min(most, RANDOM_VALUES // max(1, values)))


def write_random(
    artifact: Artifact, path: Path, count: int, seed: int, size: int = UNKNOWN_DIMENSION
) -> None:
    """Write `count` random samples: floats uniform in 0..1, small integers, fair booleans. Open
    axes are as `--shape` says, else the first one 1 and the others `size`."""
    import numpy as np
    from safetensors.numpy import save_file

    rng = np.random.default_rng(seed)
    arrays: dict[str, Any] = {}
    for sample in range(count):
        for index, spec in enumerate(artifact.inputs):
            shape = _sizes(spec, artifact, size)
            kind = np.dtype(carried_type(spec.dtype))
            values: Any
            if kind == np.bool_:
                values = rng.integers(0, 2, shape).astype(np.bool_)
            elif np.issubdtype(kind, np.integer) and spec.scale is None:
                values = rng.integers(0, INTEGER_CEILING, shape).astype(kind)
            else:
                target = kind if np.issubdtype(kind, np.floating) else np.dtype(np.float32)
                values = rng.random(shape).astype(target)
            arrays[sample_key(sample, index)] = values
    save_file(arrays, path)


def _shape(spec: TensorSpec, artifact: Artifact) -> Sequence[int | str | None]:
    return artifact.read.shapes.get(spec.name, spec.shape)


def _sizes(spec: TensorSpec, artifact: Artifact, size: int) -> list[int]:
    return [
        int(d) if _is_known(d) else size if axis else UNKNOWN_DIMENSION
        for axis, d in enumerate(_shape(spec, artifact))
    ]


def _is_known(size: int | str | None) -> TypeGuard[int]:
    return isinstance(size, int) and size > 0


def load_outputs(path: Path, count: int) -> list[list[Any]]:
    """Outputs by output index, then sample; of the first `count` samples."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        width = len({k.partition("/")[2] for k in file.keys()})  # noqa: SIM118 - not a mapping
        return [[file.get_tensor(sample_key(s, i)) for s in range(count)] for i in range(width)]


def compare_outputs(
    reference: Artifact, candidate: Artifact, left: Path, right: Path, limit: int | None = None
) -> tuple[tuple[SliceAgreement, ...], list[str]]:
    """Agreement of two files of outputs, slice by slice, over the first `limit` samples; and in
    words what cannot be compared."""
    from convkit.numerics import compare

    count = min(_count(left), _count(right))
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


def _count(path: Path) -> int:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return len({k.partition("/")[0] for k in file.keys()})  # noqa: SIM118 - not a mapping


def _mapping(reference: Artifact, candidate: Artifact) -> dict[str, str]:
    pairs = [*zip(reference.inputs, candidate.inputs, strict=False)]
    pairs += zip(reference.outputs, candidate.outputs, strict=False)
    return {a.name: b.name for a, b in pairs}
