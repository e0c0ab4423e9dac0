"""The Python interface: `convert`; `plan` and `inspect` come from `convkit.kit`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from convkit.artifact import ReadOptions, State
from convkit.engine.calibrate import CalibrationRequest, collect, missing
from convkit.engine.executor import Executor, Outcome
from convkit.engine.planner import Banned, require_path
from convkit.engine.precheck import screened
from convkit.engine.publish import check_writable, output_path, publish
from convkit.engine.records import record
from convkit.engine.scoreboard import scoreboard
from convkit.engine.session import Found, Samples, Session, Settings
from convkit.engine.sources import load
from convkit.engine.verify import random_samples
from convkit.engine.worker import Limits
from convkit.errors import UsageError
from convkit.events import Listener, silent
from convkit.kit import DEFAULT_TIMEOUT, Kit, Steering, inspect, plan
from convkit.plans import Plan
from convkit.results import ConversionResult, Output, Scoreboard

__all__ = ["Kit", "Steering", "convert", "inspect", "plan"]


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
        overwrite: replace files that convkit did not write.
        plugins: further importable targets (`package.module`), besides the installed ones.
        kit: one that was made before, with its own plugins; inside its `with` block the workers are
            kept from one conversion to the next, which spares small models most of their time.

    Raises:
        ConvkitError: see `convkit.errors`; nothing half-written is left behind.
    """
    start = time.perf_counter()
    targets = [to] if isinstance(to, str) else list(to)
    if not targets:
        raise UsageError("say where the model must run", hint="Give --to, for example tflite-int8.")
    if (data is None) != (metric is None):
        raise UsageError(
            "--data and --metric go together",
            hint="A metric such as coco-map needs labelled data, and data a metric to score.",
        )
    kit = kit or Kit(plugins)
    states = list(dict.fromkeys(kit.state(t) for t in targets))
    wishes = kit.wishes(steering, read)
    request = CalibrationRequest(
        data=_with_transform(calibration, transform_fn),
        transform=dict(transform or {}),
        limit=calibration_limit,
        synthetic=synthetic_calibration,
    )
    with kit.session(listener, settings, limits) as session, session.store.scratch() as scratch:
        path = _source_path(session, model, example_inputs, read, scratch)
        format_id = kit.format_of(path, source)
        folder, stem = Path(output_dir), name or path.stem
        places = {s: _place(kit, folder, stem, s, path, overwrite) for s in states}
        found = load(session, path, format_id, read)
        planner = kit.planner()

        def replan(target: State, banned: Banned) -> Plan:
            def make(out: Banned) -> Plan:
                traits = found.artifact.traits
                return planner.plan(found.state, target, traits=traits, wishes=wishes, banned=out)

            return screened(session, make, found.artifact, banned)

        plans = {s: replan(s, Banned()) for s in states}
        _check_plans(session, plans, request)
        drained = collect(session, request, found.artifact)
        samples = None
        if settings.verify:
            samples = (
                Samples.of(drained, settings.verify_samples)
                if drained is not None
                else random_samples(session, found.artifact)
            )
        executor = Executor(session, found, samples, drained, replan)
        outcomes = {s: executor.reach(s) for s in states}
        board = _score(session, found, outcomes, data, metric, folder, stem)
        outputs = tuple(
            _publish(session, found, f"{stem}{path.suffix}", s, outcomes[s], places[s], board)
            for s in states
        )
    rejected = tuple(dict.fromkeys(r for p in plans.values() for r in p.rejections))
    failed = tuple(dict.fromkeys(f for o in outcomes.values() for f in o.failed))
    return ConversionResult(
        outputs, rejected, failed, board, {"total": time.perf_counter() - start}
    )


def _with_transform(calibration: Any, transform_fn: Any) -> Any:
    if transform_fn is None:
        return calibration
    from convkit.samples import from_loader

    return from_loader(calibration, transform_fn)


def _source_path(
    session: Session,
    model: Any,
    example_inputs: Sequence[Any] | None,
    read: ReadOptions,
    scratch: Path,
) -> Path:
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


def _place(kit: Kit, folder: Path, stem: str, state: State, source: Path, overwrite: bool) -> Path:
    place = output_path(folder, stem, state, kit.registry.formats[state.format])
    check_writable(place, source, overwrite, kit.registry.formats[state.format])
    return place


def _check_plans(
    session: Session, plans: Mapping[State, Plan], request: CalibrationRequest
) -> None:
    """Stop before any work where a target cannot be reached, or not without more data."""
    for state, found in plans.items():
        steps = require_path(found).steps
        needs = any(session.registry.converters[s.converter].needs_calibration for s in steps)
        if needs and request.data is None and not request.synthetic:
            raise missing(state)


def _score(
    session: Session,
    source: Found,
    outcomes: Mapping[State, Outcome],
    data: str | Path | None,
    metric: str | None,
    folder: Path,
    stem: str,
) -> Scoreboard | None:
    if data is None or metric is None:
        return None
    return scoreboard(
        session, source, outcomes, Path(data), metric, folder / f"{stem}-{metric}.png"
    )


def _publish(
    session: Session,
    source: Found,
    source_name: str,
    state: State,
    outcome: Outcome,
    place: Path,
    board: Scoreboard | None,
) -> Output:
    metrics = {}
    if board is not None and str(state) in board.rows:
        metrics = {board.metric: board.rows[str(state)]}
    manifest = record(session, source, source_name, outcome, metrics)
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
