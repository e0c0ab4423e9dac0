"""The calibration lint: a look at the samples before any long work stands on them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from convkit.analysis.lint import against, alone, declared, files
from convkit.analysis.lint.catalogue import warning
from convkit.analysis.lint.portrait import Portrait, draw
from convkit.artifact import Artifact
from convkit.calibration import CalibrationData
from convkit.codec import decode, encode
from convkit.engine.calibrate import CalibrationRequest, source_of
from convkit.engine.digest import digest_files, digest_key
from convkit.engine.evaluate import Evaluator
from convkit.engine.session import Samples, Session, Stage
from convkit.lint import CalibrationWarning, Preparation
from convkit.plugin.data import DeclaringMetric, DeclaringSource


def lint_calibration(
    session: Session,
    artifact: Artifact,
    data: CalibrationData,
    request: CalibrationRequest,
    evaluator: Evaluator | None = None,
) -> tuple[CalibrationWarning, ...]:
    """Look for what is usually wrong with calibration data, and tell the listener.

    Args:
        artifact: the original model, whose inputs the data was drained for.
        request: what the user gave; its files and what is declared with them are looked at too.
        evaluator: where the result is going to be scored. The inputs that it prepares are held
            against the calibration data.

    Returns:
        At most one warning of each name for each input; empty for data that is in order.
    """
    if not data.count or not artifact.inputs:
        return ()
    with session.stage("looking at the calibration data") as stage:
        found = _first_of_each(_checks(stage, artifact, data, request, evaluator))
        stage.detail = f"{len(found)} warnings" if found else "in order"
    for one in found:
        if not data.synthetic:  # has been said when the numbers were made
            session.notice(str(one), "warning")
    return found


def examine(own: Portrait, judged: Portrait | None = None) -> tuple[CalibrationWarning, ...]:
    """What can be said of samples without knowing where they come from.

    Args:
        judged: the inputs that the evaluation prepares for the same model.
    """
    return _first_of_each(_samples(own, judged))


def _samples(own: Portrait, judged: Portrait | None) -> Iterator[CalibrationWarning]:
    if judged is not None:
        yield from against.check(own, judged)
    yield from alone.check(own)


def _checks(
    stage: Stage,
    artifact: Artifact,
    data: CalibrationData,
    request: CalibrationRequest,
    evaluator: Evaluator | None,
) -> Iterator[CalibrationWarning]:
    session = stage.session
    if data.synthetic:
        yield warning("synthetic", "the samples are random numbers that convkit made")
        return
    place = Path(request.data) if isinstance(request.data, str | Path) else None
    source = source_of(session, place) if place is not None else None
    mine = None
    if place is not None and isinstance(source, DeclaringSource):
        mine = source.preparation(place, artifact, request.transform)
    samples = evaluator.samples if evaluator is not None else None
    theirs = _of_evaluation(session, evaluator)
    yield from _stored(stage, artifact, data, samples, mine, theirs)
    if place is not None and source is not None:
        held = source.files(place)
        yield from files.labels_among(held, place)
        if evaluator is not None:
            yield from files.shared(held, evaluator.data)


def _stored(
    stage: Stage,
    artifact: Artifact,
    data: CalibrationData,
    samples: Samples | None,
    mine: Preparation | None,
    theirs: Preparation | None,
) -> tuple[CalibrationWarning, ...]:
    """What the samples and the declarations give, looked at once."""
    specs = artifact.inputs
    home = Path(__file__).parent
    key = digest_key(
        {
            "kind": "calibration-lint",
            "code": digest_files(sorted(home.glob("*.py")), home),
            "samples": [data.digest, data.count],
            "judged": [samples.digest, samples.count] if samples is not None else [],
            "declared": [encode(mine), encode(theirs)],
            "inputs": encode(specs),
        }
    )

    def make(_: Path) -> Any:
        own = draw(data.path, data.count, specs)
        judged = draw(samples.path, samples.count, specs) if samples is not None else None
        return encode((*_declared(mine, theirs, own), *_samples(own, judged)))

    _, document, cached = stage.session.store.produce(key, make)
    stage.outcome = "cached" if cached else stage.outcome
    return tuple(decode(CalibrationWarning, one) for one in document)


def _declared(
    mine: Preparation | None, theirs: Preparation | None, own: Portrait
) -> Iterator[CalibrationWarning]:
    if mine is not None:
        yield from declared.consistent(mine)
        yield from declared.arriving(mine, own.inputs[0])
    if mine is not None and theirs is not None:
        yield from declared.compared(mine, theirs)
    elif theirs is not None:
        yield from declared.within(theirs, own.inputs[0])


def _of_evaluation(session: Session, evaluator: Evaluator | None) -> Preparation | None:
    if evaluator is None:
        return None
    metric = session.registry.metrics.get(evaluator.metric)
    return metric.preparation(evaluator.data) if isinstance(metric, DeclaringMetric) else None


def _first_of_each(found: Iterator[CalibrationWarning]) -> tuple[CalibrationWarning, ...]:
    """The first of each name and input: what is declared is said before what is measured."""
    kept: dict[tuple[str, str], CalibrationWarning] = {}
    for one in found:
        head, _, rest = one.message.partition(": ")
        about = head if head.startswith("input ") and rest else ""
        kept.setdefault((one.name, about), one)
    return tuple(kept.values())
