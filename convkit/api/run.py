"""One conversion run: a source, its plans and its data, and outcomes on demand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from convkit.analysis.lint import lint_calibration
from convkit.artifact import ReadOptions, State
from convkit.calibration import CalibrationData
from convkit.engine.calibrate import CalibrationRequest, collect, missing
from convkit.engine.evaluate import Evaluator
from convkit.engine.executor import Executor
from convkit.engine.outcomes import Outcome
from convkit.engine.planner import Banned, Wishes, require_path
from convkit.engine.precheck import screened
from convkit.engine.publish import check_writable, output_path
from convkit.engine.random_samples import random_samples
from convkit.engine.session import Found, Samples, Session
from convkit.errors import UsageError
from convkit.kit import Kit
from convkit.lint import CalibrationWarning
from convkit.plans import Plan


class Run:
    """A source model in an open session, and what can be made of it.

    Plans are made on demand and kept; calibration data is read once, when `prepare` is called.
    """

    def __init__(self, kit: Kit, session: Session, source: Found, wishes: Wishes) -> None:
        self.kit, self.session, self.source = kit, session, source
        self._wishes = wishes
        self._planner = kit.planner()
        self._plans: dict[State, Plan] = {}
        self._executor: Executor | None = None
        self._data: CalibrationData | None = None
        self._calibrates = False

    def plan(self, target: State) -> Plan:
        """How the target would be reached."""
        if target not in self._plans:
            self._plans[target] = self._replan(target, Banned())
        return self._plans[target]

    def check(self, target: State, request: CalibrationRequest) -> None:
        """Stop before any work where the target cannot be reached, or not without more data.

        Raises:
            NoPathError, CalibrationError: with a hint.
        """
        converters = self.session.registry.converters
        steps = require_path(self.plan(target)).steps
        needs = any(converters[s.converter].needs_calibration for s in steps)
        self._calibrates = self._calibrates or needs
        if needs and request.data is None and not request.synthetic:
            raise missing(target)

    def prepare(self, request: CalibrationRequest) -> None:
        """Read the calibration data, and choose what verifications run on."""
        session = self.session
        self._data = collect(session, request, self.source.artifact)
        samples = None
        if session.settings.verify:
            samples = (
                Samples.of(self._data, session.settings.verify_samples)
                if self._data is not None
                else random_samples(session, self.source.artifact)
            )
        self._executor = Executor(session, self.source, samples, self._data, self._replan)

    def lint(
        self, request: CalibrationRequest, evaluator: Evaluator | None = None
    ) -> tuple[CalibrationWarning, ...]:
        """What is probably wrong with the calibration data, told to the listener; empty where
        nothing is calibrated. `check` and `prepare` come first.

        Args:
            evaluator: what the results are going to be scored with.
        """
        if self._data is None or not self._calibrates:
            return ()
        return lint_calibration(self.session, self.source.artifact, self._data, request, evaluator)

    @property
    def executor(self) -> Executor:
        """What walks the plans; `prepare` comes first."""
        assert self._executor is not None
        return self._executor

    def made_up_samples(self) -> Samples:
        """Seeded random inputs, where the user gave no data."""
        return random_samples(self.session, self.source.artifact)

    def samples(self, limit: int) -> Samples | None:
        """The first samples of the calibration data, None where there is none."""
        return None if self._data is None else Samples.of(self._data, limit)

    def reach(self, target: State) -> Outcome:
        """Make the target; `prepare` comes first.

        Raises:
            ConvkitError: no path led there.
        """
        return self.executor.reach(target)

    def _replan(self, target: State, banned: Banned) -> Plan:
        artifact = self.source.artifact

        def make(out: Banned) -> Plan:
            return self._planner.plan(
                self.source.state,
                target,
                traits=artifact.traits,
                wishes=self._wishes,
                banned=out,
            )

        return screened(self.session, make, artifact, banned)


def output_place(
    kit: Kit, folder: Path, stem: str, target: State, source: Path, overwrite: bool
) -> Path:
    """Where an output will lie, which is checked to be free.

    Raises:
        UsageError, PublishError: something else is there, or it cannot be written.
    """
    home = kit.registry.formats[target.format]
    place = output_path(folder, stem, target, home)
    check_writable(place, source, overwrite, home)
    return place


def source_path(
    session: Session,
    model: Any,
    example_inputs: Sequence[Any] | None,
    read: ReadOptions,
    scratch: Path,
) -> Path:
    """The file of a model; a live one is written to `scratch` first.

    Raises:
        UsageError: no plugin takes a live model of that type.
    """
    if isinstance(model, str | Path):
        return Path(model)
    path = scratch / "model.pt2"
    answers = session.manager.call(
        "convkit_save_live",
        model=model,
        example_inputs=tuple(example_inputs or ()),
        output=path,
        dynamic=read.dynamic,
    )
    if not answers:
        raise UsageError(
            f"no installed plugin takes a live {type(model).__name__}",
            hint="Give a path, or install the plugin of its framework.",
        )
    return path


def calibration_request(
    calibration: Any,
    transform_fn: Any,
    transform: Mapping[str, Any] | None,
    limit: int | None,
    synthetic: bool,
) -> CalibrationRequest:
    """What the user said about calibration data."""
    if transform_fn is not None:
        from convkit.samples import from_loader

        calibration = from_loader(calibration, transform_fn)
    return CalibrationRequest(
        data=calibration, transform=dict(transform or {}), limit=limit, synthetic=synthetic
    )


def target_states(kit: Kit, to: str | Sequence[str]) -> tuple[State, ...]:
    """Parse the targets, each once.

    Raises:
        UsageError: none was given, or an unknown one.
    """
    targets = [to] if isinstance(to, str) else list(to)
    if not targets:
        raise UsageError("say where the model must run", hint="Give --to, for example tflite-int8.")
    return tuple(dict.fromkeys(kit.state(t) for t in targets))
