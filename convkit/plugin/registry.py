"""What all plugins offer together: immutable, checked, each thing with its owner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from convkit.artifact import PRECISIONS, Format
from convkit.errors import PluginError, UsageError, did_you_mean
from convkit.plugin.manager import BrokenPlugin, LoadedPlugin, PluginManager

if TYPE_CHECKING:
    from convkit.delegates import DelegateRules
    from convkit.plugin.data import CalibrationSource, Metric, Sample
    from convkit.plugin.edges import Converter
    from convkit.plugin.ranking import ExclusionRule, Ranker
    from convkit.plugin.reading import Inspector
    from convkit.plugin.runtimes import Runner

KINDS = (
    "formats",
    "converters",
    "runners",
    "inspectors",
    "calibration_sources",
    "metrics",
    "exclusion_rules",
    "rankers",
    "delegate_rules",
    "samples",
)
"""What a registry holds; each has a hook `convkit_<kind>`."""


class Registry:
    """All formats, edges, runners, inspectors, metrics and samples, by name; read-only.

    Each kind is collected when it is first asked for, since a command that lists formats should
    not pay for importing every converter. A plugin whose declaration breaks the contract loses
    that declaration only, and is reported in `broken`.
    """

    def __init__(self, manager: PluginManager) -> None:
        self._manager = manager
        self._owners: dict[str, LoadedPlugin] = {}
        self._broken: list[BrokenPlugin] = []

    @property
    def plugins(self) -> tuple[LoadedPlugin, ...]:
        """The plugins that work."""
        return tuple(self._manager.loaded)

    @property
    def broken(self) -> tuple[BrokenPlugin, ...]:
        """Plugins and declarations that were left out; asks every plugin for everything."""
        for kind in KINDS:
            getattr(self, kind)
        return (*self._manager.broken, *self._broken)

    @cached_property
    def formats(self) -> Mapping[str, Format]:
        """Formats by id."""
        return self._collect("formats", _format_fault, lambda f: str(f.id))

    @cached_property
    def converters(self) -> Mapping[str, Converter]:
        """Edges by name."""
        formats = self.formats
        shape = _shaped("Converter", "name")
        return self._collect("converters", lambda c: shape(c) or _edge_fault(c, formats))

    @cached_property
    def runners(self) -> Mapping[str, Runner]:
        """Runners by name."""
        return self._collect("runners", _shaped("Runner", "name", "format"))

    @cached_property
    def inspectors(self) -> Mapping[str, Inspector]:
        """Inspectors by name."""
        return self._collect("inspectors", _shaped("Inspector", "name", "format"))

    @cached_property
    def calibration_sources(self) -> Mapping[str, CalibrationSource]:
        """Readers of calibration data by name."""
        return self._collect("calibration_sources", _shaped("CalibrationSource", "name"))

    @cached_property
    def metrics(self) -> Mapping[str, Metric]:
        """Metrics by name."""
        return self._collect("metrics", _shaped("Metric", "name"))

    @cached_property
    def exclusion_rules(self) -> Mapping[str, ExclusionRule]:
        """Priors of the analyzer by name."""
        return self._collect("exclusion_rules", _shaped("ExclusionRule", "name", "reason"))

    @cached_property
    def rankers(self) -> Mapping[str, Ranker]:
        """Rankers by name."""
        return self._collect("rankers", _shaped("Ranker", "name", "format"))

    @cached_property
    def delegate_rules(self) -> Mapping[str, DelegateRules]:
        """Rules of accelerators by name, read from their files; each file stands for itself."""
        from convkit.plugin.delegate_rules import read_rules

        formats = self.formats

        def fault(rules: DelegateRules) -> str:
            known = rules.format in formats
            return "" if known else f"{rules.name} speaks of an unknown format {rules.format!r}"

        return self._collect("delegate_rules", fault, read=read_rules)

    @cached_property
    def samples(self) -> Mapping[str, Sample]:
        """Bundled examples by name."""
        return self._collect("samples", _sample_fault)

    def owner(self, kind: str, name: str) -> LoadedPlugin:
        """The plugin that offers a thing, such as `("converters", "litert-torch.tflite")`."""
        getattr(self, kind)
        return self._owners[f"{kind}/{name}"]

    def runners_of(self, format_id: str) -> tuple[Runner, ...]:
        """The runners of a format. The first one executes results; those behind it are for an
        original that it cannot run."""
        return tuple(r for r in self.runners.values() if r.format == format_id)

    def inspector(self, format_id: str) -> Inspector:
        """The inspector of a format.

        Raises:
            PluginError: the format has none.
        """
        found = next((i for i in self.inspectors.values() if i.format == format_id), None)
        if found is None:
            raise PluginError(f"no installed plugin can inspect {format_id} files")
        return found

    def converter(self, name: str) -> Converter:
        """A converter by name.

        Raises:
            UsageError: there is none of that name, with near misses.
        """
        if name not in self.converters:
            near = did_you_mean(name, self.converters, likeness=0.4)
            raise UsageError(
                f"there is no converter called {name!r}",
                hint=f"{near} `convkit plugins` lists them.".lstrip(),
            )
        return self.converters[name]

    def _collect(
        self,
        kind: str,
        fault_of: Callable[[Any], str],
        key: Callable[[Any], str] = lambda thing: str(thing.name),
        read: Callable[[Any], Any] = lambda thing: thing,
    ) -> Mapping[str, Any]:
        """Ask every plugin for one kind, check each answer, and freeze the result.

        Args:
            read: from what the hook answers to the thing itself.
        """
        found: dict[str, Any] = {}
        hook = f"convkit_{kind}"
        for loaded, answer in self._manager.call(hook):
            try:
                things = list(answer)  # a generator runs the stranger's code only now
            except Exception as error:
                reason = f"{hook} answered nothing usable: {type(error).__name__}: {error}"
                self._leave_out(loaded, reason)
                continue
            for thing in things:
                try:
                    thing = read(thing)
                    reason = fault_of(thing)
                    name = "" if reason else key(thing)
                except Exception as error:  # a declaration of wrong types
                    reason = f"{thing!r} cannot be read: {type(error).__name__}: {error}"
                if not reason and name in found:
                    first = self._owners[f"{kind}/{name}"].name
                    reason = f"{kind} {name!r} is already offered by {first}"
                if reason:
                    self._leave_out(loaded, reason)
                    continue
                found[name] = thing
                self._owners[f"{kind}/{name}"] = loaded
        return MappingProxyType(found)

    def _leave_out(self, loaded: LoadedPlugin, reason: str) -> None:
        self._broken.append(BrokenPlugin(loaded.name, loaded.distribution, reason))


def _shaped(name: str, *texts: str) -> Callable[[Any], str]:
    """A check that a thing has all members of a protocol, and texts where texts belong."""
    from convkit import plugin

    protocol: type = getattr(plugin, name)

    def check(thing: Any) -> str:
        if not isinstance(thing, protocol):
            missing = [a for a in _members(protocol) if not hasattr(thing, a)]
            return f"{thing!r} is no {name}: it lacks {', '.join(missing)}"
        bad = [t for t in texts if not isinstance(getattr(thing, t), str) or not getattr(thing, t)]
        return f"{name} {thing!r} has no proper {' and '.join(bad)}" if bad else ""

    return check


def _sample_fault(thing: Any) -> str:
    from convkit.plugin.data import Sample

    return "" if isinstance(thing, Sample) and thing.name else f"{thing!r} is no Sample"


def _format_fault(thing: Any) -> str:
    return "" if isinstance(thing, Format) and thing.id else f"{thing!r} is no Format"


def _members(protocol: type) -> list[str]:
    return sorted(
        {name for cls in protocol.__mro__ for name in vars(cls) if not name.startswith("_")}
    )


def _edge_fault(edge: Converter, formats: Mapping[str, Format]) -> str:
    """What is wrong with an edge's declaration; empty where nothing is."""
    for state in (edge.source, edge.target):
        home = formats.get(state.format)
        if home is None:
            return f"converter {edge.name!r} speaks of an unknown format {state.format!r}"
        if state.precision not in home.precisions:
            return f"converter {edge.name!r} speaks of {state}, which {home.id} does not have"
    order = {p: i for i, p in enumerate(PRECISIONS)}
    raises = order.get(edge.target.precision, 99) < order.get(edge.source.precision, 99)
    if raises and not edge.widens:
        return f"converter {edge.name!r} raises precision, from {edge.source} to {edge.target}"
    if edge.widens and not raises:
        return f"converter {edge.name!r} widens nothing, from {edge.source} to {edge.target}"
    options = {option.name for option in edge.options}
    unbound = [p.option for p in edge.provides if p.option and p.option not in options]
    if unbound:
        return f"converter {edge.name!r} provides a trait by option {unbound[0]!r}, which it lacks"
    return ""
