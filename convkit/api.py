"""The Python interface: `convert`, `plan`, `inspect`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from convkit.artifact import ReadOptions, State
from convkit.engine.calibrate import CalibrationRequest, collect, missing
from convkit.engine.environments import EnvironmentBuilder
from convkit.engine.executor import Executor, Outcome
from convkit.engine.machine import capture
from convkit.engine.options import resolve_options
from convkit.engine.planner import Planner, Wishes, require_path
from convkit.engine.session import Found, Samples, Session, Settings
from convkit.engine.sources import format_of, load
from convkit.engine.store import Store, default_root
from convkit.engine.verify import random_samples
from convkit.engine.worker import Limits
from convkit.engine.workers import Workers
from convkit.errors import UsageError
from convkit.events import Listener, silent
from convkit.inspection import Inspection
from convkit.plans import OptionValue, Plan
from convkit.plugin.manager import PluginManager
from convkit.plugin.protocols import Converter
from convkit.plugin.registry import Registry, build_registry
from convkit.results import ConversionResult, Output, Scoreboard

DEFAULT_TIMEOUT = 3600.0


@dataclass(frozen=True)
class Steering:
    """How the user steers the planner; see `convkit.engine.planner.Wishes`."""

    via: Sequence[str] = ()
    avoid: Sequence[str] = ()
    converters: Sequence[str] = ()
    options: Mapping[str, OptionValue] = field(default_factory=dict)


class Kit:
    """A set of plugins on a machine: plan on it, open sessions on it.

    Building one imports the plugins' declarations (no framework) and takes some tens of
    milliseconds; `convert`, `plan` and `inspect` build one per call.
    """

    def __init__(self, plugins: Sequence[str] = (), cache: Path | None = None) -> None:
        """`plugins`: further importable targets (`package.module`), besides the installed ones."""
        self.manager = PluginManager.discover(plugins)
        self.registry: Registry = build_registry(self.manager)
        self.environment = capture()
        self.cache = cache or default_root()
        self.builder = EnvironmentBuilder(self.cache / "envs")

    def planner(self) -> Planner:
        """A planner on this machine."""

        def fault(edge: Converter) -> str:
            return self.builder.fault(edge.isolated) if edge.isolated else ""

        return Planner(self.registry, self.environment, fault)

    def wishes(self, steering: Steering) -> Wishes:
        """Check what the user said against what exists.

        Raises:
            UsageError: a name that means nothing, with near misses.
        """
        converters = self.registry.converters
        tools = {n.partition(".")[0] for n in converters}
        states = {str(State(f.id, p)) for f in self.registry.formats.values() for p in f.precisions}
        known = {*converters, *tools, *states, *self.registry.formats}
        for name in (*steering.via, *steering.avoid, *steering.converters):
            if name not in known:
                from difflib import get_close_matches

                near = get_close_matches(name, sorted(known), n=3, cutoff=0.5)
                hint = f"Did you mean {' or '.join(near)}?" if near else "See `convkit plugins`."
                raise UsageError(f"{name!r} is no converter, tool, format or state", hint=hint)
        return Wishes(
            via=tuple(steering.via),
            avoid=tuple(steering.avoid),
            converters=tuple(steering.converters),
            options=resolve_options(steering.options, self.registry),
        )

    def format_of(self, path: Path, stated: str | None) -> str:
        """The format of a source file; see `convkit.engine.sources.format_of`."""
        return format_of(self.manager, self.registry.formats, path, stated)

    def state(self, text: str) -> State:
        """Parse `tflite-int8`."""
        return State.parse(text, self.registry.formats.values())

    @contextmanager
    def session(
        self,
        listener: Listener = silent,
        settings: Settings | None = None,
        limits: Limits | None = None,
    ) -> Iterator[Session]:
        """A run: its workers are gone afterwards."""
        store = Store(self.cache)
        store.sweep()
        with Workers(self.builder, store.logs, limits or Limits(DEFAULT_TIMEOUT)) as workers:
            yield Session(
                self.registry,
                self.manager,
                self.environment,
                store,
                workers,
                listener,
                settings or Settings(),
            )


def plan(
    to: str,
    *,
    source: str | None = None,
    model: str | Path | None = None,
    steering: Steering = Steering(),
    read: ReadOptions = ReadOptions(),
    limit: int = 5,
    plugins: Sequence[str] = (),
) -> Plan:
    """Rank the ways from a format (or a model file) to a target; nothing is converted.

    Args:
        to: the target state, such as `tflite-int8`.
        source: the source state; may be left out where `model` is given.
        model: a file; it is inspected, so that its traits (opset, container) count.

    Raises:
        UsageError: unknown names, or neither `source` nor `model`.
    """
    kit = Kit(plugins)
    target, wishes = kit.state(to), kit.wishes(steering)
    if model is not None:
        with kit.session() as session:
            path = Path(model)
            stated = kit.state(source).format if source else None
            found = load(session, path, kit.format_of(path, stated), read)
        start, traits = found.state, found.artifact.traits
    elif source is not None:
        start, traits = kit.state(source), {}
    else:
        raise UsageError("say where the model comes from", hint="Give --from FORMAT or a MODEL.")
    return kit.planner().plan(start, target, traits=traits, wishes=wishes, limit=limit)


def inspect(
    model: str | Path,
    *,
    source: str | None = None,
    read: ReadOptions = ReadOptions(),
    listener: Listener = silent,
    plugins: Sequence[str] = (),
) -> Inspection:
    """Read a model file and say what it really is.

    Raises:
        InputError, UnsafeError: see `Inspector.inspect`.
    """
    kit = Kit(plugins)
    path = Path(model)
    stated = kit.state(source).format if source else None
    format_id = kit.format_of(path, stated)
    with kit.session(listener) as session:
        return load(session, path, format_id, read).inspection


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

    Raises:
        ConvkitError: see `convkit.errors`; nothing half-written is left behind.
    """
    start = time.perf_counter()
    targets = [to] if isinstance(to, str) else list(to)
    if not targets:
        raise UsageError("say where the model must run", hint="Give --to, for example tflite-int8.")
    kit = Kit(plugins)
    states = list(dict.fromkeys(kit.state(t) for t in targets))
    wishes = kit.wishes(steering)
    request = CalibrationRequest(
        data=_with_transform(calibration, transform_fn),
        transform=dict(transform or {}),
        limit=calibration_limit,
        synthetic=synthetic_calibration,
    )
    with kit.session(listener, settings, limits) as session, session.store.scratch() as scratch:
        stated = kit.state(source).format if source else None
        path = _source_path(session, model, example_inputs, scratch)
        format_id = kit.format_of(path, stated)
        folder, stem = Path(output_dir), name or path.stem
        places = {s: _place(kit, session, folder, stem, s, path, overwrite) for s in states}
        found = load(session, path, format_id, read)
        planner = kit.planner()

        def replan(target: State, banned: dict[str, str]) -> Plan:
            return planner.plan(
                found.state, target, traits=found.artifact.traits, wishes=wishes, banned=banned
            )

        plans = {s: replan(s, {}) for s in states}
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
            _publish(
                session, found, f"{stem}{path.suffix}", s, outcomes[s], drained, places[s], board
            )
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
    from convkit.arrays import from_loader

    return from_loader(calibration, transform_fn)


def _source_path(
    session: Session, model: Any, example_inputs: Sequence[Any] | None, scratch: Path
) -> Path:
    if isinstance(model, str | Path):
        return Path(model)
    path = scratch / "model.pt2"
    answers = session.manager.call(
        "convkit_save_live", model=model, example_inputs=tuple(example_inputs or ()), output=path
    )
    if not answers:
        raise UsageError(
            f"no installed plugin takes a live {type(model).__name__}",
            hint="Give a path, or install the plugin of its framework.",
        )
    return path


def _place(
    kit: Kit, session: Session, folder: Path, stem: str, state: State, source: Path, overwrite: bool
) -> Path:
    from convkit.engine.publish import check_writable, output_path

    place = output_path(folder, stem, state, kit.registry.formats[state.format])
    check_writable(place, source, overwrite)
    return place


def _check_plans(
    session: Session, plans: Mapping[State, Plan], request: CalibrationRequest
) -> None:
    """Stop before any work where a target cannot be reached, or not without more data."""
    for state, found in plans.items():
        if state == found.source:
            raise UsageError(f"the model is {state} already")
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
    if data is None and metric is None:
        return None
    if data is None or metric is None:
        raise UsageError("--data and --metric go together")
    from convkit.engine.scoreboard import scoreboard

    return scoreboard(
        session, source, outcomes, Path(data), metric, folder / f"{stem}-{metric}.png"
    )


def _publish(
    session: Session,
    source: Found,
    source_name: str,
    state: State,
    outcome: Outcome,
    drained: Any,
    place: Path,
    board: Scoreboard | None,
) -> Output:
    from convkit.engine.publish import publish
    from convkit.engine.records import record

    metrics = {}
    if board is not None and str(state) in board.rows:
        metrics = {board.metric: board.rows[str(state)]}
    manifest = record(session, source, source_name, outcome, drained, metrics)
    publish(outcome.final.artifact, manifest, place)
    return Output(
        state=state,
        path=place,
        size_bytes=manifest.size_bytes,
        plan=outcome.plan,
        manifest=manifest,
        verification=outcome.hops[-1].verification,
    )
