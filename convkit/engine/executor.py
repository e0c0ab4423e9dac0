"""Walking a plan: hop by hop, verified, rerouted where a hop fails or lies."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from convkit.artifact import State
from convkit.calibration import CalibrationData
from convkit.engine.hops import run_hop
from convkit.engine.judging import Judge
from convkit.engine.outcomes import Approach, Choice, Outcome, WalkedHop
from convkit.engine.planner import Banned, Beginning, beginning, require_path
from convkit.engine.precheck import in_words, obstacles, remedy
from convkit.engine.quantizing import Quantizing
from convkit.engine.session import Found, Samples, Session, Stage
from convkit.engine.traits import describe, satisfies
from convkit.errors import (
    ConversionError,
    ConvkitError,
    EnvironmentBuildError,
    NumericError,
    UsageError,
    WorkerError,
)
from convkit.manifest import Failure
from convkit.plans import OptionValue, Path, Plan, Step
from convkit.plugin.edges import Converter
from convkit.quant import QuantRecipe

MAX_FAILURES = 3
"""So often an edge may fail, each time on another road's artifact."""


@dataclass(frozen=True)
class _Road:
    """A path and what was walked of it."""

    plan: Plan
    path: Path
    hops: tuple[WalkedHop, ...]
    failed: tuple[Failure, ...]


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
    _quantizing: Quantizing = field(init=False)

    def __post_init__(self) -> None:
        self._judge = Judge(self.session, self.reference, self.samples)
        self._quantizing = Quantizing(
            self.session, self._judge, self.samples, self.calibration, self.choices
        )

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
            twin = self._quantizing.float_twin(converter, previous, stage)
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
                for step in path.steps[: steps(path)]:
                    hops.append(self._hop(step, hops))
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

    def _hop(self, step: Step, before: Sequence[WalkedHop]) -> WalkedHop:
        """One hop, with the plugins that listen told of its beginning and end."""
        manager = self.session.manager
        manager.notify("convkit_step_started", step=step)
        start, ok = time.perf_counter(), False
        try:
            hop = self._walk(step, before)
            ok = True
        finally:
            seconds = time.perf_counter() - start
            manager.notify("convkit_step_finished", step=step, seconds=seconds, ok=ok)
        return hop

    def _walk(self, step: Step, before: Sequence[WalkedHop]) -> WalkedHop:
        session = self.session
        previous = before[-1].result.found if before else self.reference
        converter = session.registry.converters[step.converter]
        self._check_traits(converter, previous)
        found = obstacles(session, converter, previous.artifact, step.options)
        if found:
            raise ConversionError(f"{converter.name} {in_words(found)}", hint=remedy(found))
        where = f" in {step.environment}" if step.environment else ""
        title = f"{step.source} -> {step.target} by {step.converter}{where}"
        with session.stage(title) as stage:
            if converter.takes_recipe:
                hop = self._quantizing.climb(step, converter, previous, stage)
            else:
                result = run_hop(session, step, previous.artifact, self.calibration, None, stage)
                judged = self._judge.judge(result.found, previous, stage)
                hop = WalkedHop(step, result, None, (), *judged)
            stage.detail = hop.summary
            stage.outcome = "failed" if hop.wrong else stage.outcome
        hop.check()
        return hop

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
