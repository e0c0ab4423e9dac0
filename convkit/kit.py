"""A set of plugins on a machine, and what is asked of it without converting: `plan`, `inspect`.

Kept apart from `convkit.api` and importing the running half of the engine only when it runs, so
that planning starts fast.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from convkit.artifact import ReadOptions, State
from convkit.engine.environments import EnvironmentBuilder
from convkit.engine.machine import capture
from convkit.engine.options import resolve_options
from convkit.engine.planner import Banned, Planner, Wishes
from convkit.engine.store import Store, default_root
from convkit.errors import UsageError, did_you_mean
from convkit.events import Listener, silent
from convkit.plans import OptionValue, Plan
from convkit.plugin.edges import Converter, TraitRequirement
from convkit.plugin.manager import PluginManager
from convkit.plugin.registry import Registry

if TYPE_CHECKING:
    from convkit.engine.session import Session, Settings
    from convkit.engine.worker import Limits
    from convkit.engine.workers import Workers
    from convkit.inspection import Inspection

DEFAULT_TIMEOUT = 3600.0
IO_LAYOUT = "io_layout"
"""The option of an edge whose tool would change the axes of inputs and outputs."""


@dataclass(frozen=True)
class Steering:
    """How the user steers the planner; see `convkit.engine.planner.Wishes`.

    Attributes:
        io_layout: `source` keeps the axes of inputs and outputs, `native` leaves them as the
            converting tool likes them best (NHWC, for some).
    """

    via: Sequence[str] = ()
    avoid: Sequence[str] = ()
    converters: Sequence[str] = ()
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    io_layout: str = "source"


class Kit:
    """A set of plugins on a machine: plan on it, open sessions on it.

    Building one imports the plugins' declarations (no framework) and takes some tens of
    milliseconds; `convert`, `plan` and `inspect` build one per call, unless they are given one.

    As a context manager it keeps its workers from one session to the next, with the frameworks
    that they have loaded. One conversion at a time: a worker answers one question after the other.
    """

    def __init__(self, plugins: Sequence[str] = (), cache: Path | None = None) -> None:
        """`plugins`: further importable targets (`package.module`), besides the installed ones."""
        self.manager = PluginManager.discover(plugins)
        self.registry: Registry = Registry(self.manager)
        self.environment = capture()
        self.cache = cache or default_root()
        self.builder = EnvironmentBuilder(self.cache / "envs")
        self._kept: Workers | None = None

    def __enter__(self) -> Kit:
        from convkit.engine.workers import Workers

        self._kept = Workers(self.builder, Store(self.cache).logs, _limits())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def planner(self) -> Planner:
        """A planner on this machine."""

        def fault(edge: Converter) -> str:
            return self.builder.fault(edge.isolated) if edge.isolated else ""

        return Planner(self.registry, self.environment, fault)

    def wishes(self, steering: Steering, read: ReadOptions = ReadOptions()) -> Wishes:
        """Check what the user said against what exists. Shapes that were given are to be fixed
        first where the file leaves them open.

        Raises:
            UsageError: a name that means nothing, with near misses.
        """
        converters = self.registry.converters
        tools = {n.partition(".")[0] for n in converters}
        states = {str(State(f.id, p)) for f in self.registry.formats.values() for p in f.precisions}
        known = {*converters, *tools, *states, *self.registry.formats}
        for name in (*steering.via, *steering.avoid, *steering.converters):
            if name not in known:
                hint = did_you_mean(name, sorted(known)) or "See `convkit plugins`."
                raise UsageError(f"{name!r} is no converter, tool, format or state", hint=hint)
        options, unfit = resolve_options(steering.options, self.registry)
        for edge in converters.values():  # an edge that has no choice keeps the source's axes
            if any(o.name == IO_LAYOUT for o in edge.options):
                options.setdefault((edge.name, IO_LAYOUT), steering.io_layout)
        return Wishes(
            via=tuple(steering.via),
            avoid=tuple(steering.avoid),
            converters=tuple(steering.converters),
            options=options,
            unfit=unfit,
            prepared=(TraitRequirement("dynamic", one_of=(False,)),) if read.shapes else (),
        )

    def format_of(self, path: Path, source: str | None) -> str:
        """The format of a source file, checked against the state that the user says it has; see
        `convkit.engine.sources.format_of`."""
        from convkit.engine.sources import format_of

        stated = self.state(source).format if source else None
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
        """A run: its workers are gone afterwards, unless the kit keeps them."""
        from convkit.engine.session import Session, Settings
        from convkit.engine.worker import sweep

        store = Store(self.cache)
        store.sweep()
        sweep()
        with self._workers(store, limits or _limits()) as workers:
            yield Session(
                self.registry,
                self.manager,
                self.environment,
                store,
                workers,
                listener,
                settings or Settings(),
            )

    @contextmanager
    def _workers(self, store: Store, limits: Limits) -> Iterator[Workers]:
        from convkit.engine.workers import Workers

        if self._kept is not None:
            self._kept.limits = limits
            yield self._kept
            return
        with Workers(self.builder, store.logs, limits) as workers:
            yield workers


def _limits() -> Limits:
    from convkit.engine.worker import Limits

    return Limits(DEFAULT_TIMEOUT)


def plan(
    to: str,
    *,
    source: str | None = None,
    model: str | Path | None = None,
    steering: Steering = Steering(),
    read: ReadOptions = ReadOptions(),
    limit: int = 5,
    plugins: Sequence[str] = (),
    kit: Kit | None = None,
) -> Plan:
    """Rank the ways from a format (or a model file) to a target; nothing is converted.

    Args:
        to: the target state, such as `tflite-int8`.
        source: the source state; may be left out where `model` is given.
        model: a file; it is inspected, so that its traits (opset, container) count.
        kit: see `convkit.api.convert`.

    Raises:
        UsageError: unknown names, or neither `source` nor `model`.
    """
    kit = kit or Kit(plugins)
    target, wishes = kit.state(to), kit.wishes(steering, read)
    if model is None:
        if source is None:
            hint = "Give --from FORMAT or a MODEL."
            raise UsageError("say where the model comes from", hint=hint)
        return kit.planner().plan(kit.state(source), target, wishes=wishes, limit=limit)
    from convkit.engine.precheck import screened
    from convkit.engine.sources import load

    with kit.session() as session:
        path = Path(model)
        found = load(session, path, kit.format_of(path, source), read)

        def make(banned: Banned) -> Plan:
            traits = found.artifact.traits
            return kit.planner().plan(
                found.state, target, traits=traits, wishes=wishes, banned=banned, limit=limit
            )

        return screened(session, make, found.artifact, every=True)


def inspect(
    model: str | Path,
    *,
    source: str | None = None,
    read: ReadOptions = ReadOptions(),
    listener: Listener = silent,
    plugins: Sequence[str] = (),
    kit: Kit | None = None,
) -> Inspection:
    """Read a model file and say what it really is.

    Raises:
        InputError, UnsafeError: see `Inspector.inspect`.
    """
    from convkit.engine.sources import load

    kit = kit or Kit(plugins)
    path = Path(model)
    format_id = kit.format_of(path, source)
    with kit.session(listener) as session:
        return load(session, path, format_id, read).inspection
