"""The metric of the original, of every result, and of the plain int8 that a recipe avoided."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from convkit.artifact import State
from convkit.engine.evaluate import Evaluator, Scored
from convkit.engine.hops import run_hop
from convkit.engine.outcomes import Outcome
from convkit.engine.recipes import FULL
from convkit.engine.session import Found, Session
from convkit.errors import ConversionError, NumericError
from convkit.results import Scoreboard


def scoreboard(
    session: Session,
    source: Found,
    outcomes: Mapping[State, Outcome],
    evaluator: Evaluator,
    picture: Path,
) -> Scoreboard:
    """Score everything alike and draw the models side by side.

    Where a recipe kept layers in float, the same hop with everything in integers is scored too:
    it shows what those layers are worth.
    """
    with session.stage(f"scoring {evaluator.metric} on {evaluator.data.name}") as stage:
        models: dict[str, Found] = {f"{source.state} (original)": source}
        for state, outcome in outcomes.items():
            float_artifact = _last_float(outcome)
            if float_artifact is not None:
                models.setdefault(str(float_artifact.state), float_artifact)
            models[str(state)] = outcome.final
            plain = _plain(session, source, outcome)
            if plain is not None:
                models[f"{state}, everything in integers"] = plain
        scored: dict[str, Scored] = {}
        for title, found in models.items():
            stage.progress(title, None)
            result = evaluator.score(found)
            if result is not None:
                scored[title] = result
        stage.progress("drawing", None)
        drawn = evaluator.picture(scored, picture)
    return Scoreboard(
        metric=evaluator.metric,
        rows={title: s.result for title, s in scored.items()},
        sizes={title: models[title].artifact.size_bytes for title in scored},
        picture=picture if drawn else None,
    )


def _last_float(outcome: Outcome) -> Found | None:
    """The fp32 artifact right before the quantized one, where it is in the same format."""
    before = [h.result.found for h in outcome.hops[:-1]]
    if before and before[-1].state.format == outcome.final.state.format:
        return before[-1]
    return None


def _plain(session: Session, source: Found, outcome: Outcome) -> Found | None:
    """The last hop again with nothing kept in float, where the recipe kept something."""
    last = outcome.hops[-1]
    if last.recipe is None or not last.recipe.rules:
        return None
    previous = outcome.hops[-2].result.found if len(outcome.hops) > 1 else source
    calibration = outcome.calibration
    with session.stage("the same with everything in integers, for contrast") as stage:
        try:
            return run_hop(session, last.step, previous.artifact, calibration, FULL, stage).found
        except (ConversionError, NumericError) as error:
            session.notice(f"everything in integers cannot be made: {error.message}")
            return None
