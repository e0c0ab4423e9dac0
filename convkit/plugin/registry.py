"""What all plugins offer together: immutable, checked, each thing with its owner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from convkit.artifact import PRECISIONS, Format
from convkit.errors import PluginError, UsageError
from convkit.plugin.manager import BrokenPlugin, LoadedPlugin, PluginManager
from convkit.plugin.protocols import (
    CalibrationSource,
    Converter,
    Inspector,
    Metric,
    Runner,
    Sample,
)


@dataclass(frozen=True)
class Registry:
    """All formats, edges, runners, inspectors, metrics and samples, by name."""

    plugins: tuple[LoadedPlugin, ...]
    broken: tuple[BrokenPlugin, ...]
    formats: Mapping[str, Format]
    converters: Mapping[str, Converter]
    runners: Mapping[str, Runner]
    inspectors: Mapping[str, Inspector]
    calibration_sources: Mapping[str, CalibrationSource]
    metrics: Mapping[str, Metric]
    samples: Mapping[str, Sample]
    owners: Mapping[str, LoadedPlugin]
    """`kind/name` (`converters/litert-torch.tflite`) to the plugin that offers it."""

    def owner(self, kind: str, name: str) -> LoadedPlugin:
        """The plugin that offers a thing."""
        return self.owners[f"{kind}/{name}"]

    def runner(self, format_id: str) -> Runner | None:
        """The first runner of a format, or None."""
        return next((r for r in self.runners.values() if r.format == format_id), None)

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
            from difflib import get_close_matches

            near = get_close_matches(name, list(self.converters), n=3, cutoff=0.4)
            hint = f"Did you mean {' or '.join(near)}? " if near else ""
            raise UsageError(
                f"there is no converter called {name!r}",
                hint=hint + "`convkit plugins` lists them.",
            )
        return self.converters[name]


def build_registry(manager: PluginManager) -> Registry:
    """Ask every plugin what it offers, check it, and freeze the answer.

    A plugin whose declarations break the contract loses that declaration only, and is reported.
    """
    owners: dict[str, LoadedPlugin] = {}
    broken: list[BrokenPlugin] = []

    def collect(
        hook: str, kind: str, key: Callable[[Any], str], check: Callable[[Any], str]
    ) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for loaded, answer in manager.call(hook):
            try:
                things = list(answer)  # a generator runs the stranger's code only now
            except Exception as error:
                reason = f"{hook} answered nothing usable: {type(error).__name__}: {error}"
                broken.append(BrokenPlugin(loaded.name, loaded.distribution, reason))
                continue
            for thing in things:
                try:
                    reason = check(thing)
                    name = "" if reason else key(thing)
                except Exception as error:  # a declaration of wrong types
                    reason = f"{thing!r} cannot be read: {type(error).__name__}: {error}"
                if not reason and name in found:
                    reason = (
                        f"{kind} {name!r} is already offered by {owners[f'{kind}/{name}'].name}"
                    )
                if reason:
                    broken.append(BrokenPlugin(loaded.name, loaded.distribution, reason))
                    continue
                found[name] = thing
                owners[f"{kind}/{name}"] = loaded
        return found

    def shaped(protocol: type, *texts: str) -> Callable[[Any], str]:
        def check(thing: Any) -> str:
            if not isinstance(thing, protocol):
                missing = [a for a in _members(protocol) if not hasattr(thing, a)]
                return f"{thing!r} is no {protocol.__name__}: it lacks {', '.join(missing)}"
            wrong = [t for t in texts if not isinstance(getattr(thing, t), str)]
            empty = [t for t in texts if not wrong and not getattr(thing, t)]
            return (
                f"{protocol.__name__} {thing!r} has no proper {wrong or empty}"
                if (wrong or empty)
                else ""
            )

        return check

    def check_sample(thing: Any) -> str:
        return "" if isinstance(thing, Sample) and thing.name else f"{thing!r} is no Sample"

    formats = collect("convkit_formats", "formats", lambda f: f.id, _format_fault)
    converter_shape = shaped(Converter, "name")

    def check_converter(thing: Any) -> str:
        return converter_shape(thing) or _edge_fault(thing, formats)

    def by_name(thing: Any) -> str:
        return str(thing.name)

    converters = collect("convkit_converters", "converters", by_name, check_converter)
    runners = collect("convkit_runners", "runners", by_name, shaped(Runner, "name", "format"))
    inspectors = collect(
        "convkit_inspectors", "inspectors", by_name, shaped(Inspector, "name", "format")
    )
    sources = collect(
        "convkit_calibration_sources",
        "calibration_sources",
        by_name,
        shaped(CalibrationSource, "name"),
    )
    metrics = collect("convkit_metrics", "metrics", by_name, shaped(Metric, "name"))
    samples = collect("convkit_samples", "samples", by_name, check_sample)
    return Registry(
        plugins=tuple(manager.loaded),
        broken=(*manager.broken, *broken),
        formats=MappingProxyType(formats),
        converters=MappingProxyType(converters),
        runners=MappingProxyType(runners),
        inspectors=MappingProxyType(inspectors),
        calibration_sources=MappingProxyType(sources),
        metrics=MappingProxyType(metrics),
        samples=MappingProxyType(samples),
        owners=MappingProxyType(owners),
    )


def formats_of(manager: PluginManager) -> tuple[Format, ...]:
    """The formats alone, by id: all that some commands need, at a fraction of the cost."""
    found: dict[str, Format] = {}
    for _, answer in manager.call("convkit_formats"):
        for thing in answer:
            if not _format_fault(thing):
                found.setdefault(thing.id, thing)
    return tuple(found[name] for name in sorted(found))


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
    if order.get(edge.target.precision, 99) < order.get(edge.source.precision, 99):
        return f"converter {edge.name!r} raises precision, from {edge.source} to {edge.target}"
    options = {option.name for option in edge.options}
    unbound = [p.option for p in edge.provides if p.option and p.option not in options]
    if unbound:
        return f"converter {edge.name!r} provides a trait by option {unbound[0]!r}, which it lacks"
    return ""
