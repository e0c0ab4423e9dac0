"""`convert`: a model to one or several targets, verified hop by hop."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from convkit.analysis.sensitivity.analyze import AnalysisSettings
from convkit.api.analysis import choose
from convkit.api.run import Run, calibration_request, output_place, source_path, target_states
from convkit.artifact import ReadOptions, State
from convkit.engine.evaluate import Evaluator
from convkit.engine.exclusions import AUTO, FLOAT, steered
from convkit.engine.outcomes import Outcome
from convkit.engine.publish import publish
from convkit.engine.records import record
from convkit.engine.scoreboard import scoreboard
from convkit.engine.session import Found, Session, Settings
from convkit.engine.sources import load
from convkit.engine.worker import Limits
from convkit.errors import UsageError
from convkit.events import Listener, silent
from convkit.kit import DEFAULT_TIMEOUT, Kit, Steering
from convkit.lint import CalibrationWarning
from convkit.results import ConversionResult, Output, Scoreboard


def convert(
    model: Any,
    *,
    to: str | Sequence[str],
    source: str | None = None,
    output_dir: str | Path = ".",
    name: str | None = None,
    calibration: Any = None,
    calibration_limit: int | None = None,
    transform: Mapping[str, Any] | None = None,
    transform_fn: Any = None,
    synthetic_calibration: bool = False,
    example_inputs: Sequence[Any] | None = None,
    data: str | Path | None = None,
    metric: str | None = None,
    analysis: AnalysisSettings | None = None,
    steering: Steering = Steering(),
    settings: Settings = Settings(),
    limits: Limits = Limits(DEFAULT_TIMEOUT),
    read: ReadOptions = ReadOptions(),
    overwrite: bool = False,
    listener: Listener = silent,
    plugins: Sequence[str] = (),
    kit: Kit | None = None,
) -> ConversionResult:
    """Convert a trained model to one or several targets, verified hop by hop.

    Args:
        model: a path, or a live model (an `nn.Module` or `ExportedProgram`) with
            `example_inputs`.
        to: target states, such as `tflite-int8`; shared prefixes of their paths run once.
        source: the source's format where detection is to be checked or helped.
        output_dir, name: outputs are `<output_dir>/<name>[-<precision>]<suffix>`.
        calibration: a path; a re-iterable of samples (an array, a sequence of arrays in input
            order, or a mapping of input names); a torch `DataLoader`, with `transform_fn` from a
            batch to a sample; or an ONNX Runtime `CalibrationDataReader`.
        transform: image settings that win over `calibration.toml`.
        data, metric: a labelled data set and the metric to score the original and results with.
        analysis: find out what stays in float by `analyze`, within these limits, in place of the
            short ladder of recipes; it goes with `auto` among `settings.exclude`.
        overwrite: replace files that convkit did not write.
        plugins: further importable targets (`package.module`), besides the installed ones.
        kit: one that was made before, with its own plugins; inside its `with` block the workers are
            kept from one conversion to the next, which spares small models most of their time.

    Raises:
        ConvkitError: see `convkit.errors`; nothing half-written is left behind.
    """
    start = time.perf_counter()
    if (data is None) != (metric is None):
        raise UsageError(
            "--data and --metric go together",
            hint="A metric such as coco-map needs labelled data, and data a metric to score.",
        )
    if analysis is not None:
        analysis.check()
        if AUTO not in settings.exclude:
            raise UsageError(
                "--max-drop and --max-time say what may be chosen, but nothing is to be chosen",
                hint="Add --exclude auto.",
            )
    kit = kit or Kit(plugins)
    states = target_states(kit, to)
    wishes = kit.wishes(steering, read)
    if settings.exclude or settings.exclude_ops:
        wishes = steered(wishes, settings, kit.registry.converters.values(), states)
    request = calibration_request(
        calibration, transform_fn, transform, calibration_limit, synthetic_calibration
    )
    with kit.session(listener, settings, limits) as session, session.store.scratch() as scratch:
        path = source_path(session, model, example_inputs, read, scratch)
        format_id = kit.format_of(path, source)
        folder, stem = Path(output_dir), name or path.stem
        places = {s: output_place(kit, folder, stem, s, path, overwrite) for s in states}
        run = Run(kit, session, load(session, path, format_id, read), wishes)
        for state in states:
            run.check(state, request)
        run.prepare(request)
        place = Path(data) if data is not None else None
        evaluator = None
        if place is not None and metric is not None:
            evaluator = Evaluator(session, metric, place, run.source)
        warnings = run.lint(request, evaluator)
        found = tuple(
            choose(session, run, s, analysis, path.name, evaluator)
            for s in states
            if analysis is not None and s.precision != FLOAT
        )
        outcomes = {s: run.reach(s) for s in states}
        board = None
        if evaluator is not None:
            picture = folder / f"{stem}-{metric}.png"
            board = scoreboard(session, run.source, outcomes, evaluator, picture)
        title = f"{stem}{path.suffix}"
        outputs = tuple(
            _publish(session, run.source, title, s, outcomes[s], places[s], board, warnings)
            for s in states
        )
        plans = [run.plan(s) for s in states]
    rejected = tuple(dict.fromkeys(r for p in plans for r in p.rejections))
    failed = tuple(dict.fromkeys(f for o in outcomes.values() for f in o.failed))
    return ConversionResult(
        outputs, rejected, failed, board, {"total": time.perf_counter() - start}, found, warnings
    )


def _publish(
    session: Session,
    source: Found,
    source_name: str,
    state: State,
    outcome: Outcome,
    place: Path,
    board: Scoreboard | None,
    warnings: tuple[CalibrationWarning, ...],
) -> Output:
    metrics = {}
    if board is not None and str(state) in board.rows:
        metrics = {board.metric: board.rows[str(state)]}
    manifest = record(session, source, source_name, outcome, metrics, warnings)
    home = session.registry.formats[state.format]
    publish(outcome.final.artifact, manifest, place, home, session.renamer(state.format))
    return Output(
        state=state,
        path=place,
        size_bytes=manifest.size_bytes,
        plan=outcome.plan,
        manifest=manifest,
        verification=outcome.hops[-1].verification,
    )
