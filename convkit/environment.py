"""The machine and the interpreter, captured once and passed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Environment:
    """What probes look at.

    Attributes:
        python: version of the running interpreter, such as `3.11.7`.
        platform: `linux`, `darwin` or `win32`.
        machine: `x86_64`, `arm64`, ...
        distributions: installed distribution (normalized name) to version.
        cpu_features: lower-case flags such as `avx2`, `avx512_vnni`; empty where unknown.
    """

    python: str
    platform: str
    machine: str
    distributions: Mapping[str, str] = field(default_factory=dict)
    cpu_features: frozenset[str] = frozenset()


@dataclass(frozen=True)
class IsolatedEnvironment:
    """A locked environment of a plugin's own, built once by convkit with uv.

    Attributes:
        name: unique; also the folder's name in convkit's cache.
        python: the only Python version that fits, as `major.minor`; the running interpreter's
            own version is preferred wherever a plugin can offer it.
        lock: the text of a requirements file with every version pinned.
        size_mb, seconds: measured cost of building it, told to the user beforehand.
    """

    name: str
    python: str
    lock: str
    size_mb: int = 0
    seconds: int = 0
