"""Several models on one data set: metric, change, agreement slice by slice, and what is wrong."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

from convkit.engine.evaluate import Evaluator, Scored
from convkit.engine.machine import install_command, unmet_requirement
from convkit.engine.output_health import look
from convkit.engine.session import Found, Session
from convkit.errors import ConvkitError
from convkit.evaluation import Evaluation, EvaluationRow, difference

Candidate = tuple[str, Found]
"""A title, unique in the run, and a model."""

FEW = 1e-3
"""A slice that agrees to less than this cosine similarity shares nothing with the reference's."""


def evaluate_found(
    session: Session,
    metric: str,
    data: Path,
    reference: Candidate,
    others: Sequence[Candidate],
    limit: int | None = None,
    picture: Path | None = None,
) -> Evaluation:
    """Score models on a labelled data set (or, by a metric without labels, against the reference).

    A model that fails has its error in its row, and the others are scored all the same. Inputs and
    outputs of all artifacts are in the reference's order, with `permutation` where their axes are
    in another one; `convkit.engine.matching` brings strangers into that form.

    Args:
        metric: the name of a plugin's metric, or `module:function`.
        picture: where to draw the models side by side, for metrics that can.

    Raises:
        UsageError: what concerns all models: an unknown metric, a data set that cannot be used, or
            a reference that a metric without labels cannot be held against.
        ConvkitError: why the first one failed, where not a single model could be scored.
    """
    start = time.perf_counter()
    models = (reference, *others)
    evaluator = Evaluator(session, metric, data, reference[1], limit)
    scored: dict[str, Scored] = {}
    rows: list[EvaluationRow] = []
    failure: ConvkitError | None = None
    with session.stage(f"scoring {metric} on {data.name}") as stage:
        for number, (title, found) in enumerate(models):
            stage.progress(title, number / len(models))
            row = _described(title, found)
            try:
                result = evaluator.score(found)
            except ConvkitError as error:
                if evaluator.relative and number == 0:
                    raise
                failure = failure or error
                rows.append(dataclasses.replace(row, error=error.message, hint=error.hint))
                continue
            if result is None:
                rows.append(_without_runner(session, row, found))
                continue
            scored[title] = result
            rows.append(_judged(evaluator, row, models, scored, result))
        if failure is not None and not scored:
            raise failure
        stage.detail = f"{len(scored)} of {len(models)} models, {evaluator.count} samples"
        drawn = picture is not None and bool(scored) and evaluator.picture(scored, picture)
    return Evaluation(
        metric=metric,
        data=data.name,
        samples=evaluator.count,
        reference=reference[0],
        rows=tuple(rows),
        seconds=time.perf_counter() - start,
        picture=picture if drawn else None,
    )


def _described(title: str, found: Found) -> EvaluationRow:
    artifact = found.artifact
    return EvaluationRow(
        title=title,
        state=str(artifact.state),
        path=str(artifact.path),
        size_bytes=artifact.size_bytes,
    )


def _without_runner(session: Session, row: EvaluationRow, found: Found) -> EvaluationRow:
    runners = session.registry.runners_of(found.state.format)
    if not runners:
        error, hint = "no installed plugin does", "`convkit plugins` lists what is installed."
    else:
        requirements = runners[0].requirements
        error = unmet_requirement(requirements, session.environment)
        hint = install_command(requirements)
    return dataclasses.replace(
        row, error=f"nothing here runs {found.state.format} files: {error}", hint=hint
    )


def _judged(
    evaluator: Evaluator,
    row: EvaluationRow,
    models: Sequence[Candidate],
    scored: dict[str, Scored],
    result: Scored,
) -> EvaluationRow:
    """The row with what was measured."""
    title, found = next(m for m in models if m[0] == row.title)
    reference_title, reference = models[0]
    problems = [*result.result.problems, *_oddities(result, found)]
    held = scored.get(reference_title)
    if title == reference_title or held is None:
        return dataclasses.replace(row, metric=result.result, problems=tuple(problems))
    slices, further = evaluator.agreement(
        reference.artifact, found.artifact, held.outputs, result.outputs
    )
    for item in slices:
        if item.collapsed or (item.cosine < FEW and not item.constant and item.reference_max):
            name = item.output if item.part == "all" else f"{item.output} {item.part}"
            what = "all values are the same" if item.collapsed else "nothing is left"
            problems.append(f"{name}: {what} of what the reference has there")
    return dataclasses.replace(
        row,
        metric=result.result,
        change=difference(result.result.value, held.result.value),
        slices=slices,
        problems=tuple(dict.fromkeys([*problems, *further])),
    )


def _oddities(result: Scored, found: Found) -> list[str]:
    """What is wrong with outputs at first sight."""
    said = []
    for output in look(result.outputs, [spec.name for spec in found.artifact.outputs]):
        if output.broken:
            said.append(f"{output.name}: NaN or infinity in {output.broken} samples")
        elif output.constant:
            tail = f", {output.value:g} everywhere" if output.value is not None else ""
            said.append(f"{output.name}: the same for every sample{tail}")
    return said
