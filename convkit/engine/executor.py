"""Walking a plan: hop by hop, verified, rerouted where a hop fails or lies."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import zip_longest

from convkit.artifact import State
from convkit.calibration import CalibrationData
from convkit.engine.exclusions import AUTO, rules
from convkit.engine.hops import HopResult, is_done, run_hop
from convkit.engine.judging import Judge
from convkit.engine.planner import Banned, Beginning, beginning, require_path
from convkit.engine.precheck import in_words, obstacles, remedy
from convkit.engine.recipes import FULL, asked, ladder
from convkit.engine.session import Found, Samples, Session, Stage
from convkit.engine.traits import describe, satisfies
from convkit.engine.verify import load_outputs, outputs_of
from convkit.errors import (
    ConversionError,
    ConvkitError,
    EnvironmentBuildError,
    NumericError,
    UsageError,
    WorkerError,
)
from convkit.manifest import Attempt, Failure
from convkit.plans import OptionValue, Path, Plan, Step
from convkit.plugin.protocols import Converter
from convkit.quant import QuantRecipe
from convkit.verification import Verification, tolerance_of

MAX_FAILURES = 3
"""So often an edge may fail, each time on another road's artifact."""


@dataclass(frozen=True)
class WalkedHop:
    """A hop with everything that is known of it."""

    step: Step
    result: HopResult
    recipe: QuantRecipe | None = None
    attempts: tuple[Attempt, ...] = ()
    verification: Verification | None = None
    predecessor: Verification | None = None


@dataclass(frozen=True)
class Outcome:
    """A target that was reached."""

    plan: Plan
    path: Path
    hops: tuple[WalkedHop, ...]
    failed: tuple[Failure, ...] = ()
    calibration: CalibrationData | None = None

    @property
    def final(self) -> Found:
        """The artifact that the target asked for."""
        return self.hops[-1].result.found


@dataclass(frozen=True)
class _Road:
    """A path and what was walked of it."""

    plan: Plan
    path: Path
    hops: tuple[WalkedHop, ...]
    failed: tuple[Failure, ...]


@dataclass(frozen=True)
class Approach:
    """A path walked up to the hop that quantizes.

    Attributes:
        step: that hop.
        previous: its input.
        twin: the float model whose layers its recipes name; often the same.
    """

    plan: Plan
    path: Path
    hops: tuple[WalkedHop, ...]
    step: Step
    previous: Found
    twin: Found


@dataclass(frozen=True)
class Choice:
    """How a converter is to quantize: what stays in float, and options that differ from those
    planned."""

    converter: str
    recipe: QuantRecipe
    options: Mapping[str, OptionValue]


@dataclass
class Executor:
    """Runs plans for one source model.

    Attributes:
        reference: the original model, which every hop is compared with.
        samples: what it is compared on; None leaves verification out.
        replan: asks the planner anew, given converters that failed and why.
        choices: how to quantize where that is known already, by target.
    """

    session: Session
    reference: Found
    samples: Samples | None
    calibration: CalibrationData | None
    replan: Callable[[State, Banned], Plan]
    choices: dict[State, Choice] = field(default_factory=dict)
    _edges: dict[str, str] = field(default_factory=dict)
    _beginnings: dict[Beginning, str] = field(default_factory=dict)
    _judge: Judge = field(init=False)

    def __post_init__(self) -> None:
        self._judge = Judge(self.session, self.reference, self.samples)

    def reach(self, target: State) -> Outcome:
        """Make the target by the best path that works.

        Raises:
            NoPathError: no path was ever possible.
            ConvkitError: the failure of the best path, when every alternative failed too.
        """
        road = self._walked(target, lambda path: len(path.steps))
        return Outcome(road.plan, road.path, road.hops, road.failed, self.calibration)

    def approach(self, target: State) -> Approach:
        """Go as far as to the hop that quantizes.

        Raises:
            UsageError: nothing is quantized on the way, or not last, or not layer by layer.
            ConvkitError: see `reach`.
        """
        road = self._walked(target, lambda path: len(path.steps) - 1)
        step = road.path.steps[-1]
        converter = self.session.registry.converters[step.converter]
        if not converter.takes_recipe:
            raise UsageError(
                f"{step.converter}, which makes {target}, cannot keep chosen layers in float",
                hint="Name a target that a quantizer makes, such as onnx-int8 or tflite-int8.",
            )
        previous = road.hops[-1].result.found if road.hops else self.reference
        with self.session.stage(f"reading the layers of {previous.state}") as stage:
            twin = self._float_twin(converter, previous, stage)
        return Approach(road.plan, road.path, road.hops, step, previous, twin)

    def build(
        self,
        approach: Approach,
        recipe: QuantRecipe,
        options: Mapping[str, OptionValue],
        stage: Stage,
    ) -> Found:
        """Quantize by a recipe, without judging the result.

        Args:
            options: that differ from those planned.

        Raises:
            ConvkitError: the quantizer failed.
        """
        data = self.calibration
        source = approach.previous.artifact
        step = dataclasses.replace(approach.step, options={**approach.step.options, **options})
        return run_hop(self.session, step, source, data, recipe, stage).found

    def turn_down(self, approach: Approach, reason: str) -> None:
        """Leave the hop behind an approach out from now on."""
        self._edges[approach.step.converter] = f"failed in this run: {reason}"

    def _walked(self, target: State, steps: Callable[[Path], int]) -> _Road:
        """Walk so many steps of the best path that works."""
        failed: list[Failure] = []
        errors: list[ConvkitError] = []
        while True:
            plan = self.replan(target, Banned(dict(self._edges), dict(self._beginnings)))
            if not plan.paths and errors:
                raise _summary(target, errors, failed)
            path = require_path(plan)
            hops: list[WalkedHop] = []
            try:
                self._walk(path.steps[: steps(path)], hops)
                return _Road(plan, path, tuple(hops), tuple(failed))
            except (ConversionError, NumericError, EnvironmentBuildError) as error:
                step = path.steps[len(hops)]
                error.add_note(f"in hop {step.converter}")
                failed.append(
                    Failure(
                        step.converter,
                        str(step.target),
                        type(error).__name__,
                        error.message,
                        source=str(step.source),
                    )
                )
                errors.append(error)
                self._ban(path.steps[: len(hops) + 1], error)
                if not self.session.settings.reroute:
                    raise _summary(target, errors, failed) from error
                self.session.notice(
                    f"{step.converter} failed: {error.message}. Looking for another way.", "warning"
                )

    def _ban(self, steps: Sequence[Step], error: ConvkitError) -> None:
        """Turn down what failed: the last step behind these others, and wherever it stands when it
        fails again and again, or fails at a cost (it hung, or its environment cannot be had)."""
        evidence = f"failed in this run: {error.message}"
        self._beginnings[beginning(steps)] = evidence
        name = steps[-1].converter
        failures = sum(start[-1][0] == name for start in self._beginnings)
        if failures >= MAX_FAILURES or isinstance(error, WorkerError | EnvironmentBuildError):
            self._edges[name] = evidence

    def _walk(self, steps: Sequence[Step], hops: list[WalkedHop]) -> None:
        """Walk steps one by one; each is appended once it was judged. While the next one converts,
        the verdict may be under way; what a quantizer starts from is judged first."""
        open_hop: _OpenHop | None = None
        for step, following in zip_longest(steps, steps[1:]):
            last = open_hop.found if open_hop else hops[-1].result.found if hops else self.reference
            converts = following is not None and not self._quantizes(following)
            try:
                begun = self._begin(step, last, following_converts=converts)
            except ConvkitError:
                if open_hop is not None:
                    hops.append(open_hop.finish())  # an earlier fault explains the later one
                raise
            if open_hop is not None:
                try:
                    hops.append(open_hop.finish())
                except BaseException:
                    begun.give_up()
                    raise
            open_hop = begun
            if not begun.under_way:
                hops.append(begun.finish())
                open_hop = None

    def _quantizes(self, step: Step) -> bool:
        return self.session.registry.converters[step.converter].takes_recipe

    def _begin(self, step: Step, previous: Found, *, following_converts: bool) -> _OpenHop:
        """Convert; the verdict is still to come.

        Args:
            following_converts: something else is done while this is judged.
        """
        session = self.session
        converter = session.registry.converters[step.converter]
        with ExitStack() as stack:
            stack.enter_context(self._told(step))
            self._check_traits(converter, previous)
            found = obstacles(session, converter, previous.artifact, step.options)
            if found:
                raise ConversionError(f"{converter.name} {in_words(found)}", hint=remedy(found))
            where = f" in {step.environment}" if step.environment else ""
            title = f"{step.source} -> {step.target} by {step.converter}{where}"
            stage = stack.enter_context(session.stage(title))
            if converter.takes_recipe:
                hop = self._quantize(step, converter, previous, stage)
                settled = partial(_settled, hop, stage)
                return _OpenHop(hop.result.found, stage, False, settled, stack.pop_all())
            if following_converts and not is_done(
                session, step, previous.artifact, self.calibration, None
            ):
                self._judge.prepare(step.target.format)
            result = run_hop(session, step, previous.artifact, self.calibration, None, stage)
            waiting = self._judge.beside(result.found, previous) if following_converts else None

            def judged() -> WalkedHop:
                wait = waiting or partial(self._judge.judge, result.found, previous)
                return _settled(WalkedHop(step, result, None, (), *wait(stage)), stage)

            return _OpenHop(result.found, stage, waiting is not None, judged, stack.pop_all())

    @contextmanager
    def _told(self, step: Step) -> Iterator[None]:
        """The plugins that listen are told of a hop's beginning and end."""
        manager = self.session.manager
        manager.notify("convkit_step_started", step=step)
        start, ok = time.perf_counter(), False
        try:
            yield
            ok = True
        finally:
            seconds = time.perf_counter() - start
            manager.notify("convkit_step_finished", step=step, seconds=seconds, ok=ok)

    def _check_traits(self, converter: Converter, previous: Found) -> None:
        for requirement in converter.requires:
            value = previous.artifact.traits.get(requirement.trait)
            if requirement.soft or value is None:
                continue
            if not satisfies(value, requirement):
                raise ConversionError(
                    f"{converter.name} requires {describe(requirement)}, "
                    f"the artifact has {requirement.trait} {value}"
                )

    def _quantize(
        self, step: Step, converter: Converter, previous: Found, stage: Stage
    ) -> WalkedHop:
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
            judged, culprit = self._judge.judge(result.found, previous, stage)
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
        twin = self._float_twin(converter, previous, stage)
        layers = twin.inspection.layers
        rungs = ladder(layers, self._mixes(twin, stage)) if climbing else ()
        found = rules(layers, settings.exclude, settings.exclude_ops)
        return asked(found, rungs) if found or rungs else (FULL,)

    def _float_twin(self, converter: Converter, previous: Found, stage: Stage) -> Found:
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


@dataclass
class _OpenHop:
    """A hop whose result is there, and its verdict not yet.

    Attributes:
        stage: of its conversion; it ends with the verdict.
        under_way: it is being judged now.
        judged: judges, or waits for the verdict.
        told: who waits for the hop's end.
    """

    found: Found
    stage: Stage
    under_way: bool
    judged: Callable[[], WalkedHop]
    told: ExitStack

    def finish(self) -> WalkedHop:
        """The hop with its verdict.

        Raises:
            NumericError: it is wrong.
        """
        with self.told:
            return self.judged()

    def give_up(self) -> None:
        """End it without a verdict, for what it was made from failed."""
        self.stage.detail = "its input is wrong"
        self.told.__exit__(*sys.exc_info())


def _settled(hop: WalkedHop, stage: Stage) -> WalkedHop:
    """The hop, unless it is wrong.

    Raises:
        NumericError: it is.
    """
    stage.detail = _detail(hop)
    judged = hop.verification
    if judged is None or judged.verdict != "wrong":
        return hop
    stage.outcome = "failed"
    evidence = list(judged.problems[:3])
    if judged.divergence is not None:
        evidence.append(str(judged.divergence))
    raise NumericError(
        f"the result of {hop.step.converter} does not compute what the original does: "
        + "; ".join(evidence),
        hint=_wrong_hint(hop),
    )


def _wrong_hint(hop: WalkedHop) -> str:
    if hop.predecessor is not None and hop.predecessor.verdict == "wrong":
        return f"This hop is the culprit: its own input {hop.step.source} was still right."
    if hop.attempts:
        tried = ", ".join(f"{a.recipe.name} {a.sqnr_db:.1f} dB" for a in hop.attempts)
        return f"Tried: {tried}. More or better calibration data may help."
    return "--avoid or --via choose another road; `convkit plan --explain` lists them."


def _better(one: Verification, other: Verification | None) -> bool:
    if other is None:
        return True
    rank = {"wrong": 0, "unproven": 1, "degraded": 2, "ok": 2}
    return (rank[one.verdict], one.sqnr_db) > (rank[other.verdict], other.sqnr_db)


def _detail(hop: WalkedHop) -> str:
    parts = []
    if hop.recipe is not None:
        parts.append(hop.recipe.name)
    if hop.verification is not None:
        parts.append(hop.verification.verdict)
        if hop.verification.slices:
            parts.append(f"{hop.verification.sqnr_db:.1f} dB")
    return ", ".join(parts)


def _summary(
    target: State, errors: Sequence[ConvkitError], failed: Sequence[Failure]
) -> ConvkitError:
    """The first failure, telling of the others; numerically wrong only if all were."""
    if len(errors) == 1:
        return errors[0]
    story = "\n  ".join(f"{f.converter}: {f.message}" for f in failed)
    numeric = all(isinstance(e, NumericError) for e in errors)
    cls: type[ConvkitError] = NumericError if numeric else ConversionError
    hints = [e.hint for e in errors if e.hint]
    return cls(
        f"every way to {target} failed", hint=f"{story}\n  {hints[0] if hints else ''}".rstrip()
    )
