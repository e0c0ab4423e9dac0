"""`analyze`: which layers a quantizer must leave in float, found by measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from convkit.analysis.sensitivity.analyze import (
    AnalysisSettings,
    NothingBuiltError,
    analyze_subject,
)
from convkit.analysis.sensitivity.subject import Subject
from convkit.api.run import Run, calibration_request, source_path, target_states
from convkit.artifact import ReadOptions, State
from convkit.engine.evaluate import Evaluator, check_metric
from convkit.engine.exclusions import AUTO, rules
from convkit.engine.executor import Executor
from convkit.engine.outcomes import Choice
from convkit.engine.session import Found, Session, Settings
from convkit.engine.sources import load
from convkit.engine.worker import Limits
from convkit.errors import NoPathError, UsageError
from convkit.events import Listener, silent
from convkit.kit import DEFAULT_TIMEOUT, Kit, Steering
from convkit.sensitivity import Sensitivity

COMPARED = 16
"""Outputs are compared on so many samples of the calibration data."""
RANKED = 300
"""So many samples, at most, say what ranges tensors have; quantizers take as many."""


class SensitivityReport(Sensitivity):
    """What an analysis found; see `Sensitivity`."""

    def to_html(self, path: str | Path) -> None:
        """Write the page: one file that needs no network.

        Raises:
            ConvkitError: the packages that draw are not installed.
            PublishError: the file cannot be written.
        """
        from convkit.report.page import write_sensitivity_report

        write_sensitivity_report(self, Path(path))


def analyze(
    model: Any,
    *,
    to: str,
    source: str | None = None,
    name: str | None = None,
    calibration: Any = None,
    calibration_limit: int | None = None,
    transform: Mapping[str, Any] | None = None,
    transform_fn: Any = None,
    synthetic_calibration: bool = False,
    example_inputs: Sequence[Any] | None = None,
    data: str | Path | None = None,
    metric: str | None = None,
    limit: int | None = None,
    analysis: AnalysisSettings = AnalysisSettings(),
    steering: Steering = Steering(),
    settings: Settings = Settings(),
    limits: Limits = Limits(DEFAULT_TIMEOUT),
    read: ReadOptions = ReadOptions(),
    report: str | Path | None = None,
    overwrite: bool = False,
    listener: Listener = silent,
    plugins: Sequence[str] = (),
    kit: Kit | None = None,
) -> SensitivityReport:
    """Find the smallest set of layers to keep in float, in the target's own runtime.

    All that is built lies in the store: an analysis that was interrupted goes on where it was.
    The same arguments give the same choice, unless a limit on time decides.

    Args:
        model, source, calibration, transform, transform_fn, example_inputs: see `convert`.
        to: a quantized state, such as `onnx-int8`.
        name: what the report calls the model; the file's name by default.
        data, metric: labelled data and the metric that says what is lost. Without them the outputs
            are held against the float model's, on the calibration samples.
        limit: score on the first so many samples of `data`.
        analysis: what may be lost and spent.
        report: where to write the HTML page.

    Raises:
        UsageError: the target is not quantized, the metric cannot judge, or settings contradict
            each other.
        ConvkitError: the float model cannot be made, or nothing could be quantized.
    """
    if (data is None) != (metric is None):
        raise UsageError(
            "--data and --metric go together",
            hint="Without both, the outputs are held against the float model's.",
        )
    analysis.check()
    kit = kit or Kit(plugins)
    (state,) = target_states(kit, to)
    wishes = kit.wishes(steering, read)
    if report is not None:
        from convkit.report.page import check_place, require_libraries

        require_libraries()
        check_place(Path(report), overwrite)
    request = calibration_request(
        calibration, transform_fn, transform, calibration_limit, synthetic_calibration
    )
    with kit.session(listener, settings, limits) as session, session.store.scratch() as scratch:
        path = source_path(session, model, example_inputs, read, scratch)
        if metric is not None:
            check_metric(session, metric)
        run = Run(kit, session, load(session, path, kit.format_of(path, source), read), wishes)
        run.check(state, request)
        run.prepare(request)
        evaluator = None
        if data is not None and metric is not None:
            evaluator = Evaluator(session, metric, Path(data), run.source, limit)
        doubts = tuple(map(str, run.lint(request, evaluator)))
        title = name or (path.name if isinstance(model, str | Path) else type(model).__name__)
        found = sensitivity(session, run, state, analysis, title, evaluator)
    fields = {name: getattr(found, name) for name in found.__dataclass_fields__}
    made = SensitivityReport(**{**fields, "warnings": (*doubts, *found.warnings)})
    if report is not None:
        made.to_html(report)
    return made


def sensitivity(
    session: Session,
    run: Run,
    target: State,
    analysis: AnalysisSettings,
    title: str,
    evaluator: Evaluator | None,
) -> Sensitivity:
    """One analysis of a run that has its calibration data.

    Raises:
        UsageError, ConvkitError: see `analyze`.
    """
    samples = run.samples(COMPARED) or run.made_up_samples()
    ranked = run.samples(RANKED) or samples
    executor = run.executor
    chosen = [p for p in session.settings.exclude if p != AUTO]
    first: NothingBuiltError | None = None
    while True:
        try:
            approach = executor.approach(target)
        except NoPathError:
            if first is not None:  # why the best quantizer failed says more
                raise first from None
            raise
        asked = rules(approach.twin.inspection.layers, chosen, session.settings.exclude_ops)
        subject = Subject(session, executor, approach, samples, evaluator, asked)
        make = _differentiable(executor)
        try:
            return analyze_subject(subject, analysis, title, ranked, make)
        except NothingBuiltError as error:
            first = first or error
            session.notice(f"{error.message}. Looking for another way.", "warning")
            executor.turn_down(approach, error.message)


def choose(
    session: Session,
    run: Run,
    target: State,
    analysis: AnalysisSettings,
    title: str,
    evaluator: Evaluator | None,
) -> Sensitivity:
    """Analyse, and let the run use what was found.

    Raises:
        UsageError, ConvkitError: see `analyze`.
    """
    found = sensitivity(session, run, target, analysis, title, evaluator)
    run.executor.choices[target] = Choice(found.converter, found.recipe, found.choice.options)
    session.notice(found.notes[0], "info" if found.reached else "warning")
    return found


def _differentiable(executor: Executor) -> Any:
    def make(format_id: str) -> Found:
        return executor.reach(State(format_id)).final

    return make
