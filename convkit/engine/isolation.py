"""Isolated environments as they stand: who declares them, where they are, why they exist."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

from convkit.engine.environments import (
    COMPANIONS,
    EnvironmentBuilder,
    lock_digest,
    site_packages,
    size_on_disk,
)
from convkit.environment import Environment, IsolatedEnvironment
from convkit.errors import UsageError, did_you_mean
from convkit.plugin.registry import Registry

if TYPE_CHECKING:
    from packaging.requirements import Requirement


@dataclass(frozen=True)
class Declared:
    """An environment that a plugin declares.

    Attributes:
        edges: names of the converters that run in it.
        state: `built`, `not built`, or `not possible` here, for the reason in `fault`.
        size_bytes: on disk where it is built, else as declared.
    """

    spec: IsolatedEnvironment
    plugin: str
    edges: tuple[str, ...]
    digest: str
    folder: str
    state: str
    fault: str
    size_bytes: int


@dataclass(frozen=True)
class Orphan:
    """A folder in the cache that belongs to no declared environment."""

    folder: str
    size_bytes: int


@dataclass(frozen=True)
class Pin:
    """A locked distribution that the main environment has in another version.

    Attributes:
        holders: who asks for what, as `ai-edge-quantizer needs numpy>=2`: of the main environment
            against the locked version, and of the isolated one, where it is built, against the
            installed version. Empty where the two versions differ and nobody objects.
    """

    name: str
    locked: str
    installed: str
    holders: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reasons:
    """Why an environment is apart from the main one.

    Attributes:
        python: the main interpreter's version where it is another one than the lock is for.
        pins: those that differ; the excluding ones, which have holders, first.
        missing: locked distributions that the main environment does not have at all.
        shared: how many it has in the very version.
    """

    python: str
    pins: tuple[Pin, ...]
    missing: tuple[str, ...]
    shared: int


def declared(registry: Registry, builder: EnvironmentBuilder) -> tuple[Declared, ...]:
    """All environments that installed plugins declare, by name."""
    owners: dict[IsolatedEnvironment, tuple[str, list[str]]] = {}
    for edge in registry.converters.values():
        if edge.isolated is not None:
            plugin = registry.owner("converters", edge.name).name
            owners.setdefault(edge.isolated, (plugin, []))[1].append(edge.name)
    found = []
    for spec, (plugin, edges) in owners.items():
        built, fault = builder.built(spec), builder.fault(spec)
        folder = builder.folder(spec)
        found.append(
            Declared(
                spec=spec,
                plugin=plugin,
                edges=tuple(sorted(edges)),
                digest=lock_digest(spec),
                folder=folder.name,
                state="built" if built else "not possible" if fault else "not built",
                fault=fault,
                size_bytes=size_on_disk(folder) if built else spec.size_mb * 1_000_000,
            )
        )
    return tuple(sorted(found, key=lambda d: (d.spec.name, d.digest)))


def orphans(known: Iterable[Declared], builder: EnvironmentBuilder) -> tuple[Orphan, ...]:
    """What lies among the environments and belongs to none that is declared: of plugins that are
    gone, and of older locks."""
    ours = {d.folder for d in known}
    found = set()
    for entry in builder.root.iterdir() if builder.root.is_dir() else ():
        if entry.is_dir():
            found.add(entry.name)
        elif entry.suffix in COMPANIONS:
            found.add(entry.stem)
    return tuple(Orphan(name, size_on_disk(builder.root / name)) for name in sorted(found - ours))


def named(name: str, known: Iterable[Declared]) -> tuple[Declared, ...]:
    """The environments of a name; two plugins may give one name to different locks.

    Raises:
        UsageError: there is none, with near misses.
    """
    known = tuple(known)
    found = tuple(d for d in known if d.spec.name == name)
    if not found:
        names = sorted({d.spec.name for d in known})
        near = did_you_mean(name, names)
        listing = f"Declared: {', '.join(names)}." if names else "No plugin declares one."
        raise UsageError(f"there is no environment called {name!r}", hint=near or listing)
    return found


def reasons(spec: IsolatedEnvironment, main: Environment, builder: EnvironmentBuilder) -> Reasons:
    """Compare a lock with what is installed beside convkit."""
    pins, missing, shared = [], [], 0
    for name, version in locked_versions(spec):
        installed = main.distributions.get(name)
        if installed is None:
            missing.append(name)
        elif installed == version:
            shared += 1
        else:
            pins.append(Pin(name, version, installed))
    held = [*_holders(metadata.distributions(), {p.name: p.locked for p in pins}, "")]
    places = [str(place) for place in site_packages(builder.folder(spec))]
    if places and pins:
        inside = metadata.distributions(path=places)
        wanted = {p.name: p.installed for p in pins}
        held += _holders(inside, wanted, f" (in {spec.name})", _python(spec))
    told: dict[str, list[str]] = {}
    for name, text in held:
        told.setdefault(name, []).append(text)
    judged = [
        dataclasses.replace(p, holders=tuple(dict.fromkeys(told.get(p.name, ())))) for p in pins
    ]
    other = "" if main.python.startswith(f"{spec.python}.") else main.python
    return Reasons(
        python=other,
        pins=tuple(sorted(judged, key=lambda p: (not p.holders, p.name))),
        missing=tuple(sorted(missing)),
        shared=shared,
    )


def locked_versions(spec: IsolatedEnvironment) -> Iterator[tuple[str, str]]:
    """(Normalized name, version) of every pin of a lock that is meant for this machine."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    for line in spec.lock.replace("\\\n", " ").splitlines():
        text = line.partition(" #")[0].partition(" --hash")[0].strip()
        if not text or text.startswith(("#", "-")):
            continue
        try:
            requirement = Requirement(text)
        except InvalidRequirement:  # a path or a link: it has no version to compare
            continue
        if requirement.marker is not None and not requirement.marker.evaluate(_python(spec)):
            continue
        exact = [s.version for s in requirement.specifier if s.operator in ("==", "===")]
        if exact:
            yield canonicalize_name(requirement.name), exact[0]


def _holders(
    distributions: Iterable[metadata.Distribution],
    versions: Mapping[str, str],
    where: str,
    markers: dict[str, str] | None = None,
) -> Iterator[tuple[str, str]]:
    """(Name, `who needs what`) of every requirement that one of the versions does not meet."""
    from packaging.utils import canonicalize_name

    for distribution in distributions:
        for requirement in _requirements(distribution, markers or {}):
            name = canonicalize_name(requirement.name)
            version = versions.get(name)
            if version is not None and not requirement.specifier.contains(version, True):
                who = canonicalize_name(distribution.metadata["Name"])
                yield name, f"{who} needs {name}{requirement.specifier}{where}"


def _requirements(
    distribution: metadata.Distribution, markers: dict[str, str]
) -> Iterator[Requirement]:
    """What a distribution always needs on this machine, extras left out."""
    from packaging.requirements import InvalidRequirement, Requirement

    for text in distribution.requires or ():
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        if requirement.marker is None or requirement.marker.evaluate({"extra": "", **markers}):
            yield requirement


def _python(spec: IsolatedEnvironment) -> dict[str, str]:
    """What markers are to take for the Python version, which may not be the running one."""
    return {"python_version": spec.python, "python_full_version": f"{spec.python}.0"}
