"""What all parts of one run share: registry, environment, store, workers, listener, settings."""

from __future__ import annotations

import functools
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import convkit
from convkit import __version__
from convkit.artifact import PARAMETER_BYTES, Artifact, State, Trait
from convkit.calibration import CalibrationData
from convkit.codec import decode, encode
from convkit.engine.digest import digest_files
from convkit.engine.machine import (
    install_command,
    requirement_names,
    unmet_requirement,
)
from convkit.engine.store import Store
from convkit.engine.worker import Worker
from convkit.engine.workers import Workers
from convkit.environment import Environment, IsolatedEnvironment
from convkit.errors import NoPathError
from convkit.events import Event, Listener, Notice, StageFinished, StageProgress, StageStarted
from convkit.inspection import Inspection
from convkit.plugin.manager import PluginManager, load_target
from convkit.plugin.reading import Renamer
from convkit.plugin.registry import Registry
from convkit.plugin.runtimes import Runner


@dataclass(frozen=True)
class Settings:
    """Choices of the user that hold for the whole run.

    Attributes:
        verify: compare every hop with the original.
        reroute: try the next-best path where a hop fails.
        keep_float: `auto` (the recipe ladder) or `none` (everything in integers).
        exclude, exclude_ops: layers that must stay in float, see `convkit.engine.exclusions`; the
            ladder is then climbed only if `auto` is among the former.
        verify_samples: how many samples a verification looks at.
        threads: for converters and runners; 0 leaves the choice to the tool.
    """

    verify: bool = True
    reroute: bool = True
    keep_float: str = "auto"
    exclude: tuple[str, ...] = ()
    exclude_ops: tuple[str, ...] = ()
    verify_samples: int = 8
    seed: int = 0
    threads: int = 0


@dataclass
class Session:
    """One run of the engine."""

    registry: Registry
    manager: PluginManager
    environment: Environment
    store: Store
    workers: Workers
    listener: Listener
    settings: Settings = field(default_factory=Settings)

    def emit(self, event: Event) -> None:
        """Tell the listener."""
        self.listener(event)

    def notice(self, message: str, level: str = "info") -> None:
        """Tell the listener a sentence."""
        self.listener(Notice(message, level))

    @contextmanager
    def stage(self, title: str) -> Iterator[Stage]:
        """A stretch of work that the user can watch."""
        stage = Stage(self, uuid.uuid4().hex[:8], title)
        self.emit(StageStarted(stage.key, title))
        start = time.perf_counter()
        try:
            yield stage
        except BaseException:
            self.emit(StageFinished(stage.key, "failed", time.perf_counter() - start))
            raise
        took = time.perf_counter() - start
        self.emit(StageFinished(stage.key, stage.outcome, took, stage.detail))

    def ask(
        self,
        op: str,
        kind: str,
        name: str,
        arguments: Mapping[str, Any],
        *,
        stage: Stage | None = None,
        isolated: IsolatedEnvironment | None = None,
        worker: Worker | None = None,
    ) -> Any:
        """Ask the right worker, or a dedicated one, for an operation of one implementation.

        Raises:
            NoPathError: what it requires is not installed; the hint is the command that cures it.
        """
        requirements = getattr(self.registry, kind)[name].requirements
        fault = "" if isolated else unmet_requirement(requirements, self.environment)
        if fault:
            raise NoPathError(f"{name} cannot be used: {fault}", hint=install_command(requirements))
        return self.workers.request(
            op,
            arguments,
            plugin=self.registry.owner(kind, name),
            kind=kind,
            name=name,
            log=f"{name}-{op}",
            isolated=isolated,
            worker=worker,
            progress=stage.progress if stage else (lambda phase, fraction: None),
        )

    def inspect(
        self, path: Path, format_id: str, read: Any, stage: Stage | None = None
    ) -> Inspection:
        """Read a file in a worker."""
        inspector = self.registry.inspector(format_id)
        arguments = {"path": str(path), "read": encode(read)}
        answer = self.ask("inspect", "inspectors", inspector.name, arguments, stage=stage)
        found: Inspection = decode(Inspection, answer)
        return found

    def renamer(self, format_id: str) -> Callable[[Path, Mapping[str, str]], None] | None:
        """How a file of the format is told that its companions have other names now; None where
        it finds them by its own name."""
        inspector = self.registry.inspector(format_id)
        if not isinstance(inspector, Renamer):
            return None

        def rename(path: Path, names: Mapping[str, str]) -> None:
            arguments = {"path": str(path), "names": dict(names)}
            self.ask("rename", "inspectors", inspector.name, arguments)

        return rename

    def runner(self, format_id: str) -> Runner | None:
        """The runner of a format, or None where there is none or its runtime is not installed."""
        return next(iter(self.runners(format_id)), None)

    def runners(self, format_id: str) -> tuple[Runner, ...]:
        """The runners of a format that can be used here, the usual one first."""
        return tuple(
            runner
            for runner in self.registry.runners_of(format_id)
            if not unmet_requirement(runner.requirements, self.environment)
        )

    def implementation_key(self, kind: str, name: str, requirements: tuple[str, ...]) -> Any:
        """What identifies an implementation's behaviour: code and versions."""
        plugin = self.registry.owner(kind, name)
        return {
            "name": name,
            "convkit": [__version__, _core_digest()],
            "plugin": [plugin.version, _source_digest(plugin.target)],
            "versions": self.versions(requirements),
        }

    def versions(self, requirements: tuple[str, ...]) -> dict[str, str]:
        """Versions of the distributions that requirements name."""
        installed = self.environment.distributions
        return {n: installed[n] for n in requirement_names(requirements) if n in installed}


@dataclass
class Stage:
    """A running stage; set `outcome` and `detail` before it ends."""

    session: Session
    key: str
    title: str
    outcome: str = "done"
    detail: str = ""

    def progress(self, phase: str, fraction: float | None) -> None:
        """Say what is being done."""
        self.session.emit(StageProgress(self.key, phase, fraction))


@dataclass(frozen=True)
class Found:
    """An artifact with what its inspector said."""

    artifact: Artifact
    inspection: Inspection

    @property
    def state(self) -> State:
        """The artifact's state."""
        return self.artifact.state


def traits_of(inspection: Inspection) -> dict[str, Trait]:
    """An artifact's traits, the size of its parameters among them."""
    traits = dict(inspection.traits)
    if inspection.parameter_bytes:
        traits.setdefault(PARAMETER_BYTES, sum(inspection.parameter_bytes.values()))
    return traits


@dataclass(frozen=True)
class Samples:
    """Inputs that a verification runs on: a safetensors file as `CalibrationData` describes."""

    path: Path
    digest: str
    count: int
    synthetic: bool

    @classmethod
    def of(cls, data: CalibrationData, limit: int) -> Samples:
        """The first samples of calibration data."""
        return cls(data.path, data.digest, min(limit, data.count), data.synthetic)


_JUDGES = (
    "alignment.py",
    "arrays.py",
    "nodes.py",
    "numerics.py",
    "overlaps.py",
    "pairing.py",
    "plugin/shapes.py",
    "samples.py",
    "sketches.py",
    "traces.py",
    "verification.py",
    "engine/batches.py",
    "engine/hops.py",
    "engine/judgement.py",
    "engine/layout.py",
    "engine/locate.py",
    "engine/random_samples.py",
    "engine/sample_files.py",
    "engine/second_opinion.py",
    "engine/verify.py",
    "engine/worker_ops.py",
)
"""The core's own files that decide what an entry of the store says."""


@functools.cache
def _core_digest() -> str:
    folder = Path(convkit.__file__).parent
    return digest_files((folder / name for name in _JUDGES), folder)


@functools.cache
def _source_digest(target: str) -> str:
    """Digest of a plugin's own source: editable installs change without a version."""
    name = target.partition(":")[0]
    home = Path(str(load_target(name).__file__))
    # a plugin that is one module has strangers for neighbours
    files = home.parent.rglob("*.py") if "." in name else [home]
    return digest_files(files, home.parent)
