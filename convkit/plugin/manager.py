"""Finding plugins. One that is broken is reported and never takes the others down.

pluggy's own `load_setuptools_entrypoints` stops at the first plugin that fails to import, and a
plugin that fails validation stays half registered; so entry points are loaded one by one here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from convkit.plugin import spec
from convkit.plugin.marker import ENTRY_POINT_GROUP, PROJECT

GROUP_PREFIX = f"{PROJECT}."


@dataclass(frozen=True)
class LoadedPlugin:
    """A plugin that works.

    Attributes:
        name: the entry point's name.
        target: importable as `module` or `module:attribute`; workers import it again.
        point: where it was found, or None for a plugin given directly.
    """

    name: str
    target: str
    point: EntryPoint | None = field(default=None, repr=False, compare=False)

    @property
    def distribution(self) -> str:
        """Who ships it, or an empty string. Looked up when asked: it parses a file."""
        return self.point.dist.name if self.point is not None and self.point.dist else ""

    @property
    def version(self) -> str:
        """The distribution's version, or an empty string."""
        return self.point.dist.version if self.point is not None and self.point.dist else ""


@dataclass(frozen=True)
class BrokenPlugin:
    """A plugin that was left out, and why."""

    name: str
    distribution: str
    reason: str


class PluginManager:
    """Loads plugins and calls their hooks; every instance is independent of the others."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(spec)
        self.loaded: list[LoadedPlugin] = []
        self.broken: list[BrokenPlugin] = []

    @classmethod
    def discover(cls, extra: Iterable[str] = ()) -> PluginManager:
        """Load core's own plugin, every installed one, and the importable `extra` targets."""
        manager = cls()
        manager.add("core", "convkit.builtin")
        points = entry_points()
        for point in sorted(points.select(group=ENTRY_POINT_GROUP), key=lambda p: p.name):
            manager.add(point.name, point.value, point)
        for group in points.groups:
            if group.startswith(GROUP_PREFIX) and group != ENTRY_POINT_GROUP:
                manager._report_incompatible(points.select(group=group), group)
        for target in extra:
            manager.add(target, target)
        return manager

    def add(self, name: str, target: str, point: EntryPoint | None = None) -> None:
        """Import and register one plugin; on failure record it as broken and go on."""
        if any(p.target == target for p in self.loaded):
            return  # the same one twice, as installed and as an extra, is no conflict
        candidate = LoadedPlugin(name, target, point)
        twin = next((p for p in self.loaded if p.name == name), None)
        if twin is not None:
            first = twin.distribution or twin.target
            reason = f"the name {name!r} is taken by {first}; one of the two must be renamed"
            self.broken.append(BrokenPlugin(name, candidate.distribution or target, reason))
            return
        plugin: Any = None
        try:
            plugin = load_target(target)
            self._manager.register(plugin, name=name)
            self._check_hooks(plugin)
        except (Exception, SystemExit) as error:  # whatever a stranger's code raises stays there
            if plugin is not None and self._manager.get_plugin(name) is plugin:
                self._manager.unregister(plugin)
            text = " ".join(str(error).split())
            self.broken.append(
                BrokenPlugin(name, candidate.distribution, f"{type(error).__name__}: {text}")
            )
            return
        self.loaded.append(candidate)

    def call(self, hook: str, **arguments: Any) -> list[tuple[LoadedPlugin, Any]]:
        """Call a hook on every plugin; one that raises is reported broken and skipped."""
        results: list[tuple[LoadedPlugin, Any]] = []
        for loaded in list(self.loaded):
            plugin = self._manager.get_plugin(loaded.name)
            caller = self._manager.subset_hook_caller(
                hook,
                remove_plugins=[p for _, p in self._manager.list_name_plugin() if p is not plugin],
            )
            try:
                answers = caller(**arguments)
            except Exception as error:
                self._drop(loaded, f"{hook} raised {type(error).__name__}: {error}")
                continue
            for answer in answers if isinstance(answers, list) else [answers]:
                if answer is not None:
                    results.append((loaded, answer))
        return results

    def notify(self, hook: str, **arguments: Any) -> None:
        """Call a hook whose results nobody reads."""
        self.call(hook, **arguments)

    def _drop(self, loaded: LoadedPlugin, reason: str) -> None:
        self._manager.unregister(name=loaded.name)
        self.loaded.remove(loaded)
        self.broken.append(BrokenPlugin(loaded.name, loaded.distribution, reason))

    def _check_hooks(self, plugin: object) -> None:
        """A misspelt hook would stay silent for ever, so it makes the plugin broken."""
        known = {name for name in vars(spec) if name.startswith("convkit_")}
        for name in dir(plugin):
            if name.startswith("convkit_") and callable(getattr(plugin, name, None)):
                if name not in known:
                    raise LookupError(f"there is no hook called {name}")
                if not hasattr(getattr(plugin, name), f"{PROJECT}_impl"):
                    raise LookupError(f"{name} lacks the @hookimpl decorator")

    def _report_incompatible(self, points: Iterable[EntryPoint], group: str) -> None:
        for point in points:
            owner = point.dist.name if point.dist is not None else ""
            reason = f"made for plugin interface {group}; this convkit has {ENTRY_POINT_GROUP}"
            self.broken.append(BrokenPlugin(point.name, owner, reason))


def load_target(target: str) -> Any:
    """Import `module` or `module:attribute`."""
    module, _, attribute = target.partition(":")
    loaded: Any = import_module(module)
    for part in attribute.split(".") if attribute else ():
        loaded = getattr(loaded, part)
    return loaded
