"""The hop that quantizes: recipe by recipe, until one is good enough."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from convkit.artifact import State
from convkit.calibration import CalibrationData
from convkit.engine.exclusions import AUTO, rules
from convkit.engine.hops import run_hop
from convkit.engine.judging import Judge
from convkit.engine.outcomes import Choice, WalkedHop
from convkit.engine.recipes import FULL, asked, ladder
from convkit.engine.sample_files import load_outputs
from convkit.engine.session import Found, Samples, Session, Stage
from convkit.engine.verify import outputs_of
from convkit.errors import ConversionError, ConvkitError, NumericError
from convkit.manifest import Attempt
from convkit.plans import Step
from convkit.plugin.edges import Converter
from convkit.quant import QuantRecipe
from convkit.verification import Verification, tolerance_of


@dataclass
class Quantizing:
    """Quantizes for one source model.

    Attributes:
        choices: how to quantize where that is known already, by target.
    """

    session: Session
    judge: Judge
    samples: Samples | None
    calibration: CalibrationData | None
    choices: Mapping[State, Choice]

    def climb(self, step: Step, converter: Converter, previous: Found, stage: Stage) -> WalkedHop:
        """Climb the ladder of recipes until one is as good as its precision can be expected to
        be; take the best where none is."""
        best: WalkedHop | None = None
        attempts: list[Attempt] = []
        target = tolerance_of(step.target.precision).target
        errors: list[ConvkitError] = []
        known = self.choices.get(step.target)
        if known is not None and known.converter == step.converter:
            step = dataclasses.replace(step, options={**step.options, **known.options})
            recipes: Sequence[QuantRecipe] = (known.recipe,)
        else:
            recipes = self._recipes(converter, previous, stage)
        for recipe in recipes:
            stage.progress(f"quantizing: {recipe.name}", None)
            try:
                result = run_hop(
                    self.session, step, previous.artifact, self.calibration, recipe, stage
                )
            except (ConversionError, NumericError) as error:
                errors.append(error)
                attempts.append(Attempt(recipe, float("-inf"), f"failed: {error.message}", 0))
                continue
            judged, culprit = self.judge.judge(result.found, previous, stage)
            hop = WalkedHop(step, result, recipe, (), judged, culprit)
            if judged is None:
                return hop
            size = result.found.artifact.size_bytes
            attempts.append(Attempt(recipe, judged.sqnr_db, judged.verdict, size))
            if best is None or _better(judged, best.verification):
                best = hop
            if judged.verdict == "unproven" or (
                judged.verdict != "wrong" and judged.sqnr_db >= target
            ):
                break
        if best is None:
            raise errors[0]
        return WalkedHop(
            step, best.result, best.recipe, tuple(attempts), best.verification, best.predecessor
        )

    def _recipes(
        self, converter: Converter, previous: Found, stage: Stage
    ) -> Sequence[QuantRecipe]:
        """The ladder for static quantizers. Weights alone in fp16 or int8 leave the activations
        in float, where an island of float at the outputs would change nothing. What the user
        excludes holds for all of them.

        Raises:
            UsageError: an exclusion that matches nothing.
        """
        settings = self.session.settings
        named = bool(settings.exclude or settings.exclude_ops)
        climbing = converter.needs_calibration and (
            AUTO in settings.exclude or (settings.keep_float == "auto" and not named)
        )
        if not named and not climbing:
            return (FULL,)
        twin = self.float_twin(converter, previous, stage)
        layers = twin.inspection.layers
        rungs = ladder(layers, self._mixes(twin, stage)) if climbing else ()
        found = rules(layers, settings.exclude, settings.exclude_ops)
        return asked(found, rungs) if found or rungs else (FULL,)

    def float_twin(self, converter: Converter, previous: Found, stage: Stage) -> Found:
        """The float model whose layers a converter's recipes name; often its input."""
        if not converter.float_twin:
            return previous
        edge = self.session.registry.converter(converter.float_twin)
        step = Step(edge.name, edge.source, edge.target, {o.name: o.default for o in edge.options})
        stage.progress("making the float model whose layers the recipe names", None)
        return run_hop(self.session, step, previous.artifact, None, None, stage).found

    def _mixes(self, twin: Found, stage: Stage) -> bool:
        """Whether an output of the float model holds parts that no shared scale can carry."""
        from convkit.numerics import mixes_kinds

        samples = self.samples
        if samples is None and self.calibration is not None:
            samples = Samples.of(self.calibration, self.session.settings.verify_samples)
        if samples is None:
            return False
        path = outputs_of(self.session, twin.artifact, samples, stage)
        if path is None:
            return False
        return any(mixes_kinds(o) for o in load_outputs(path, samples.count))


def _better(one: Verification, other: Verification | None) -> bool:
    if other is None:
        return True
    rank = {"wrong": 0, "unproven": 1, "degraded": 2, "ok": 2}
    return (rank[one.verdict], one.sqnr_db) > (rank[other.verdict], other.sqnr_db)
