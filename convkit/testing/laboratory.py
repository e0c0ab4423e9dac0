"""Where contract suites experiment: the engine's own session, with private folders around it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from convkit.artifact import Artifact, ReadOptions
from convkit.calibration import CalibrationData
from convkit.codec import decode, encode
from convkit.engine.calibrate import CalibrationRequest, collect
from convkit.engine.companions import whole_size
from convkit.engine.digest import digest_path
from convkit.engine.environments import EnvironmentBuilder
from convkit.engine.machine import capture
from convkit.engine.random_samples import random_samples
from convkit.engine.session import Found, Samples, Session
from convkit.engine.sources import load
from convkit.engine.store import Store, default_root
from convkit.engine.worker import Limits
from convkit.engine.workers import Workers
from convkit.environment import IsolatedEnvironment
from convkit.errors import ConvkitError
from convkit.events import silent
from convkit.plans import OptionValue
from convkit.plugin.edges import Converter
from convkit.plugin.manager import PluginManager
from convkit.plugin.registry import Registry
from convkit.quant import QuantRecipe
from convkit.testing.folders import companions, differences, snapshot, within
from convkit.verification import Verification

INSTRUMENTS = "convkit.testing.instruments"
SAMPLES = 8
SYSTEM_FOLDERS = (Path("/dev"), Path("/proc"), Path("/sys"))


@dataclass(frozen=True)
class Observation:
    """What an observed operation answered and did.

    Attributes:
        result: its answer, None where it raised.
        error: `type`, `message`, `cause`, `typed`, `kinds` and `traceback`, or None.
        strays: paths outside its own that it left behind, changed or removed.
        phases, faults: calls of `progress`, the sound ones and the others.
        changes: of the process: working folder, environment variables, umask.
    """

    result: Any
    error: Mapping[str, Any] | None
    strays: tuple[str, ...]
    phases: tuple[str, ...]
    faults: tuple[str, ...]
    changes: tuple[str, ...]


@dataclass(frozen=True)
class Conversion:
    """One run of a converter.

    Attributes:
        described: the artifact as the converter described it, None where it raised.
        output: where it was to write.
        digests: of the source, before and after.
        leftovers: what lies in the output's folder.
    """

    seen: Observation
    described: Artifact | None
    output: Path
    digests: tuple[str, str]
    leftovers: tuple[str, ...]


@dataclass
class Laboratory:
    """A session, and folders that nobody else writes to.

    Attributes:
        strays: of all observations so far, by the implementation's name.
    """

    session: Session
    root: Path
    tolerated: tuple[Path, ...] = ()
    strays: dict[str, list[str]] = field(default_factory=dict)
    _kept: dict[str, Any] = field(default_factory=dict)

    def source(self, path: Path, format_id: str, read: ReadOptions) -> Found:
        """Read a model through its format's inspector."""
        return load(self.session, path, format_id, read)

    def observe(
        self,
        op: str,
        kind: str,
        name: str,
        arguments: Mapping[str, Any],
        *,
        own: Sequence[Path] = (),
        output: Path | None = None,
        around: Sequence[Path] = (),
        isolated: IsolatedEnvironment | None = None,
    ) -> Observation:
        """Run an operation of one implementation under observation.

        Args:
            own: folders that it may write to.
            output: a file that it may write, with its companions, or a folder.
            around: folders to compare before and after, besides the private ones.

        Raises:
            WorkerError: it crashed or hung.
        """
        home, temporary = self.root / "home", self.root / "temporary"
        for folder in (home, temporary):
            folder.mkdir(exist_ok=True)
        self.session.ask("load", kind, name, {"modules": [INSTRUMENTS]}, isolated=isolated)
        watched = [home, temporary, *around]
        before = snapshot(watched)
        answer = self.session.ask(
            "observed",
            kind,
            name,
            {"inner": op, "home": str(home), "temporary": str(temporary), **arguments},
            isolated=isolated,
        )
        left = [p for p in answer["written"] if Path(p).exists() or Path(p).is_symlink()]
        suspects = dict.fromkeys([*answer["removed"], *left])
        suspects.update(dict.fromkeys(differences(before, snapshot(watched))))
        allowed = [*own, *self.tolerated, *SYSTEM_FOLDERS, self.session.store.logs]
        strays = [
            path
            for path in suspects
            if not within(path, allowed)
            and not (output and (within(path, [output]) or companions(path, output)))
        ]
        self.strays.setdefault(name, []).extend(strays)
        return Observation(
            result=answer["result"],
            error=answer["error"],
            strays=tuple(strays),
            phases=tuple(answer["phases"]),
            faults=tuple(answer["faults"]),
            changes=tuple(answer["changes"]),
        )

    def convert(
        self,
        converter: Converter,
        source: Artifact,
        options: Mapping[str, OptionValue],
        calibration: CalibrationData | None = None,
        recipe: QuantRecipe | None = None,
        *,
        turn: int = 1,
    ) -> Conversion:
        """Run a converter; the same run asked for again is not repeated, nor is its failure.

        Args:
            turn: a run of another number is another run.

        Raises:
            WorkerError: it crashed or hung.
        """
        digest = source.digest if source.path.is_dir() else digest_path(source.path)
        parts = [converter.name, digest, encode(dict(options)), encode(recipe), turn]
        key = repr([*parts, calibration.digest if calibration else ""])
        if key not in self._kept:
            try:
                self._kept[key] = self._convert(converter, source, options, calibration, recipe)
            except ConvkitError as error:
                self._kept[key] = error
        kept = self._kept[key]
        if isinstance(kept, ConvkitError):
            raise kept
        conversion: Conversion = kept
        return conversion

    def _convert(
        self,
        converter: Converter,
        source: Artifact,
        options: Mapping[str, OptionValue],
        calibration: CalibrationData | None,
        recipe: QuantRecipe | None,
    ) -> Conversion:
        place = self.root / f"run-{uuid.uuid4().hex[:8]}"
        workdir, folder = place / "work", place / "out"
        workdir.mkdir(parents=True)
        folder.mkdir()
        home = self.session.registry.formats[converter.target.format]
        output = folder / ("artifact" + home.suffix(converter.target.precision))
        before = digest_path(source.path)
        seen = self.observe(
            "convert",
            "converters",
            converter.name,
            {
                "artifact": encode(source),
                "output": str(output),
                "options": dict(options),
                "workdir": str(workdir),
                "calibration": encode(calibration if converter.needs_calibration else None),
                "recipe": encode(recipe),
                "seed": self.session.settings.seed,
                "threads": 1,
            },
            own=(workdir,),
            output=output,
            around=(source.path.parent, folder),
            isolated=converter.isolated,
        )
        return Conversion(
            seen,
            decode(Artifact, seen.result) if seen.error is None else None,
            output,
            (before, digest_path(source.path)),
            tuple(sorted(p.name for p in folder.iterdir())),
        )

    def finished(self, conversion: Conversion) -> Found:
        """The result as the engine would take it over: described, inspected, measured."""
        described, output = conversion.described, conversion.output
        if described is None:
            error = conversion.seen.error or {}
            pytest.fail(
                f"the conversion failed: {error['type']}: {error['message']}\n{error['traceback']}"
            )
        if not output.exists():
            pytest.fail(f"the converter came back without having written {output.name}")
        inspection = self.session.inspect(output, described.state.format, described.read)
        artifact = replace(
            described,
            path=output,
            digest=inspection.digest or digest_path(output),
            size_bytes=whole_size(output, inspection.companions),
            traits={**inspection.traits, **described.traits},
            inputs=described.inputs or inspection.inputs,
            outputs=described.outputs or inspection.outputs,
        )
        return Found(artifact, inspection)

    def calibration(self, data: Any, artifact: Artifact) -> CalibrationData:
        """Drain calibration data; random numbers where `data` is None."""
        drained = collect(
            self.session, CalibrationRequest(data=data, synthetic=data is None), artifact
        )
        assert drained is not None
        return drained

    def samples(self, calibration: CalibrationData | None, artifact: Artifact) -> Samples:
        """What a verification runs on."""
        if calibration is None:
            return random_samples(self.session, artifact)
        return Samples.of(calibration, SAMPLES)

    def verify(self, reference: Artifact, candidate: Artifact, samples: Samples) -> Verification:
        """The engine's own verdict."""
        from convkit.engine.verify import verify

        return verify(self.session, reference, candidate, samples, against=str(reference.state))


@contextmanager
def open_laboratory(
    root: Path,
    plugins: Sequence[str] = (),
    *,
    seconds: float | None = None,
    megabytes: int | None = None,
    tolerated: Sequence[str] = (),
) -> Iterator[Laboratory]:
    """A laboratory under `root`. Isolated environments come from the user's cache, where building
    them has to be paid for once only; everything else is private."""
    manager = PluginManager.discover(plugins)
    registry = Registry(manager)
    builder = EnvironmentBuilder(default_root() / "envs")
    store = Store(root / "store")
    with Workers(builder, store.logs, Limits(seconds, megabytes)) as workers:
        session = Session(registry, manager, capture(), store, workers, silent)
        yield Laboratory(session, root, tuple(Path(p).expanduser() for p in tolerated))


def offered(registry: Registry, kind: str, name: str) -> None:
    """Check that an implementation is really offered by a plugin's hook.

    Raises:
        AssertionError: it is not, with what the registry says of broken plugins.
    """
    things: Mapping[str, Any] = getattr(registry, kind)
    faults = "; ".join(f"{b.name}: {b.reason}" for b in registry.broken)
    assert name in things, (
        f"no plugin offers {name!r} among its {kind}: install the plugin, or name its module in "
        f"`plugins`. Faults: {faults or 'none'}"
    )
