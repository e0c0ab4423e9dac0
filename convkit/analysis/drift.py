"""Float results whose metric is not the original's, and the hop that is to blame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from convkit.engine.outcomes import Outcome
from convkit.engine.session import Found
from convkit.evaluation import Evaluation

FLAT = 0.001
"""Float formats agree in a metric to this much: converting alone loses nothing."""

FLOATS = ("fp32", "fp16")


def drift(
    evaluation: Evaluation,
    outcomes: Mapping[str, Outcome],
    score: Callable[[Found], float | None],
) -> tuple[str, ...]:
    """Name, for every float model that is off by more than `FLAT`, the hop in which it happens.

    Args:
        outcomes: title of a model to how it was made.
        score: the metric of an artifact between, None where nothing runs it.
    """
    reference = evaluation.row(evaluation.reference)
    if reference is None or reference.metric is None:
        return ()
    value = reference.metric.value
    sentences = []
    for row in evaluation.rows:
        outcome = outcomes.get(row.title)
        if outcome is None or row.metric is None or row.change is None:
            continue
        if outcome.final.state.precision not in FLOATS or abs(row.change) <= FLAT:
            continue
        blamed = _hop(outcome, value, score)
        sentences.append(
            f"{row.title}: {evaluation.metric} is {row.metric.value:.4f} where {value:.4f} was "
            f"expected; {blamed}"
        )
    return tuple(sentences)


def _hop(outcome: Outcome, value: float, score: Callable[[Found], float | None]) -> str:
    before = value
    for hop in _scored(outcome, score):
        name, now = hop
        if now is not None and abs(now - value) > FLAT:
            return f"it is {name} that changes it from {before:.4f} to {now:.4f}"
        before = before if now is None else now
    return "no single hop changes it so much"


def _scored(
    outcome: Outcome, score: Callable[[Found], float | None]
) -> Iterable[tuple[str, float | None]]:
    for hop in outcome.hops:
        yield hop.step.converter, score(hop.result.found)
