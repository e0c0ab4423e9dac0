"""Capturing the environment: which distributions are there and what the processor can do."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata

from convkit.environment import Environment

ALTERNATIVE = "|"
"""Between requirements of which one is enough, as `tensorflow-cpu|tensorflow`."""


class InstalledDistributions(Mapping[str, str]):
    """Name to version, looked up one by one: listing them all would cost every start-up."""

    def __init__(self) -> None:
        self._known: dict[str, str | None] = {}

    def __getitem__(self, name: str) -> str:
        if name not in self._known:
            try:
                self._known[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                self._known[name] = None
        version = self._known[name]
        if version is None:
            raise KeyError(name)
        return version

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({d.name.lower() for d in metadata.distributions() if d.name}))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def capture() -> Environment:
    """Describe this interpreter and machine."""
    return Environment(
        python=platform.python_version(),
        platform=sys.platform,
        machine=platform.machine(),
        distributions=InstalledDistributions(),
        cpu_features=_cpu_features(),
    )


def _cpu_features() -> frozenset[str]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith(("flags", "Features")):
                    return frozenset(line.partition(":")[2].split())
    except OSError:  # not Linux
        pass
    return frozenset()


def unmet_requirement(requirements: tuple[str, ...], environment: Environment) -> str:
    """The first requirement that this environment does not meet, in words; empty if none."""
    for text in requirements:
        parts = [part.strip() for part in text.split(ALTERNATIVE)]
        if any(_plainly_met(part, environment) for part in parts):
            continue
        faults = [_fault(part, environment) for part in parts]
        if all(faults):
            return " and ".join(faults)
    return ""


def install_command(requirements: tuple[str, ...]) -> str:
    """The command that meets requirements, of alternatives by the first."""
    needs = " ".join(f"'{text.partition(ALTERNATIVE)[0]}'" for text in requirements)
    return f"python -m pip install {needs}"


def requirement_names(requirements: tuple[str, ...]) -> tuple[str, ...]:
    """Names of all distributions that requirements speak of, alternatives included."""
    from packaging.requirements import Requirement

    parts = [part.strip() for text in requirements for part in text.split(ALTERNATIVE)]
    return tuple(Requirement(part).name for part in parts)


def _fault(text: str, environment: Environment) -> str:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return f"the plugin's requirement {text!r} cannot be read"
    if requirement.marker is not None and not requirement.marker.evaluate():
        return ""
    version = environment.distributions.get(requirement.name)
    if version is None:
        return f"{requirement.name} is not installed"
    if not requirement.specifier.contains(version, prereleases=True):
        return f"{requirement.name} {version} is installed, {text} is needed"
    return ""


_PLAIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:>=(?P<least>\d+(?:\.\d+)*))?")
_RELEASE = re.compile(r"\d+(?:\.\d+)*(?=$|\+)")


def _plainly_met(text: str, environment: Environment) -> bool:
    """Whether a bare name, or a name with a least release, is met by a plain release.

    Nearly all requirements are of that kind, and importing `packaging` to read them took as long
    as the planning itself. Whatever is not plain, or not met, is for `packaging` to judge.
    """
    plain = _PLAIN.fullmatch(text)
    version = environment.distributions.get(plain["name"]) if plain else None
    if plain is None or version is None:
        return False
    if plain["least"] is None:
        return True
    release = _RELEASE.match(version)
    return release is not None and _numbers(release[0]) >= _numbers(plain["least"])


def _numbers(release: str) -> tuple[int, ...]:
    numbers = [int(part) for part in release.split(".")]
    while numbers and not numbers[-1]:  # 2 and 2.0 are the same release
        numbers.pop()
    return tuple(numbers)
