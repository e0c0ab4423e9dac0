"""`evaluate`: several models on one data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from convkit.analysis.evaluate import Candidate, evaluate_found
from convkit.analysis.titles import titles_of
from convkit.artifact import ReadOptions
from convkit.engine.evaluate import check_metric
from convkit.engine.matching import matched
from convkit.engine.session import Found, Session, Settings
from convkit.engine.sources import load
from convkit.engine.worker import Limits
from convkit.errors import ConvkitError, UsageError
from convkit.evaluation import Evaluation, EvaluationRow
from convkit.events import Listener, silent
from convkit.kit import DEFAULT_TIMEOUT, Kit


def evaluate(
    models: Sequence[str | Path] | str | Path,
    *,
    data: str | Path,
    metric: str,
    reference: str | Path | None = None,
    limit: int | None = None,
    picture: str | Path | None = None,
    settings: Settings = Settings(),
    limits: Limits = Limits(DEFAULT_TIMEOUT),
    read: ReadOptions = ReadOptions(),
    listener: Listener = silent,
    plugins: Sequence[str] = (),
) -> Evaluation:
    """Score models of any format on one data set, all run alike.

    A model that cannot be read, run or scored has its error in its row; the others are scored all
    the same.

    Args:
        models: paths. They take the same inputs; order and axes may differ.
        data: a labelled data set, or samples for a metric without labels.
        metric: the name of an installed metric, or `module:function`.
        reference: what the others are compared with; the first model that can be read where it is
            left out. It need not be among `models`.
        limit: use so many samples, the first ones.
        picture: where to draw the models side by side, for metrics that can.

    Raises:
        UsageError: what concerns all models, such as an unknown metric or unusable data.
    """
    paths = [Path(models)] if isinstance(models, str | Path) else [Path(m) for m in models]
    if not paths:
        raise UsageError("there is no model to evaluate", hint="Give one model file or several.")
    stated = Path(reference) if reference is not None else None
    if stated is not None and stated not in paths:
        paths.insert(0, stated)
    paths = list(dict.fromkeys(paths))
    kit = Kit(plugins)
    with kit.session(listener, settings, limits) as session:
        check_metric(session, metric)
        titles = titles_of(paths)
        found, failed = _load(kit, session, dict(zip(titles, paths, strict=True)), read)
        first = titles[paths.index(stated)] if stated is not None else next(iter(found), "")
        if first not in found:
            error = failed[first or titles[0]]
            raise error
        candidates: list[Candidate] = []
        for title, model in found.items():
            try:
                artifact = matched(found[first].artifact, model.artifact)
            except UsageError as error:
                failed[title] = error
                continue
            if title != first:
                candidates.append((title, Found(artifact, model.inspection)))
        evaluation = evaluate_found(
            session,
            metric,
            Path(data),
            (first, found[first]),
            candidates,
            limit,
            Path(picture) if picture is not None else None,
        )
    rows = {row.title: row for row in evaluation.rows}
    for title, path in zip(titles, paths, strict=True):
        if title in failed:
            rows[title] = _failed(title, path, found.get(title), failed[title])
    return dataclasses.replace(evaluation, rows=tuple(rows[title] for title in titles))


def _load(
    kit: Kit, session: Session, paths: Mapping[str, Path], read: ReadOptions
) -> tuple[dict[str, Found], dict[str, ConvkitError]]:
    """What could be read, and why the rest could not."""
    found: dict[str, Found] = {}
    failed: dict[str, ConvkitError] = {}
    for title, path in paths.items():
        try:
            found[title] = load(session, path, kit.format_of(path, None), read)
        except ConvkitError as error:
            failed[title] = error
    return found, failed


def _failed(title: str, path: Path, found: Found | None, error: ConvkitError) -> EvaluationRow:
    return EvaluationRow(
        title=title,
        state=str(found.state) if found else "",
        path=str(path),
        size_bytes=found.artifact.size_bytes if found else 0,
        error=error.message,
        hint=error.hint,
    )
