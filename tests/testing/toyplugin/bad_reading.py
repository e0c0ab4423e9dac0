"""Runners, inspectors and readers of calibration data that break the contract, one way each."""

from __future__ import annotations

import dataclasses
import json
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convkit.arrays import ArraySource
from convkit.errors import CalibrationError, InputError
from convkit.plugin import (
    Artifact,
    CalibrationSource,
    ExecutedLayer,
    ExecutionProfile,
    Inspection,
    Inspector,
    Operation,
    ReadOptions,
    Runner,
    TracedTensor,
    hookimpl,
)
from tests.testing.toyplugin import model as toy
from tests.testing.toyplugin.reading import ToyInspector, ToyRunner, ToySession


@dataclass(frozen=True)
class BadRunner(ToyRunner):
    format: str = "brick"


class FilesOrder(ToySession):
    def run(self, inputs: Sequence[Any]) -> Sequence[Any]:
        given = toy.by_name(self._model, inputs, self._artifact.inputs)
        return list(toy.compute(self._model, given).values())


@dataclass(frozen=True)
class OwnOrder(BadRunner):
    """Gives outputs in the order of the file."""

    name: str = "bad.own-order"

    def open(self, artifact: Artifact, threads: int) -> ToySession:
        return FilesOrder(artifact, toy.read(artifact.path, self.format))


class Remembering(ToySession):
    def run(self, inputs: Sequence[Any]) -> Sequence[Any]:
        self.count = getattr(self, "count", 0) + 1
        return [value + self.count for value in super().run(inputs)]


@dataclass(frozen=True)
class Remembers(BadRunner):
    """Lets one sample colour the next."""

    name: str = "bad.remembers"

    def open(self, artifact: Artifact, threads: int) -> ToySession:
        return Remembering(artifact, toy.read(artifact.path, self.format))


class Doubled(ToySession):
    def run(self, inputs: Sequence[Any]) -> Sequence[Any]:
        return [value.astype("float64") for value in super().run(inputs)]


@dataclass(frozen=True)
class WrongDtype(BadRunner):
    name: str = "bad.wrong-dtype"

    def open(self, artifact: Artifact, threads: int) -> ToySession:
        return Doubled(artifact, toy.read(artifact.path, self.format))


@dataclass(frozen=True)
class BareRunner(BadRunner):
    """Lets the parser's own exception through."""

    name: str = "bad.bare-runner"

    def open(self, artifact: Artifact, threads: int) -> ToySession:
        return ToySession(artifact, json.loads(artifact.path.read_text("utf-8")))


@dataclass(frozen=True)
class CrashingRunner(BadRunner):
    """Crashes on damaged files, as native parsers do."""

    name: str = "bad.crashing-runner"

    def open(self, artifact: Artifact, threads: int) -> ToySession:
        try:
            return super().open(artifact, threads)
        except Exception:
            os.abort()


@dataclass(frozen=True)
class CachingRunner(BadRunner):
    """Writes a cache beside the model."""

    name: str = "bad.caching-runner"

    def open(self, artifact: Artifact, threads: int) -> ToySession:
        session = super().open(artifact, threads)
        artifact.path.with_suffix(".cache").write_text("cache")
        return session


@dataclass(frozen=True)
class TracesStrangers(BadRunner):
    """Names layers that the inspector does not know."""

    name: str = "bad.traces-strangers"

    def trace(
        self, artifact: Artifact, inputs: Sequence[Any], threads: int
    ) -> Iterator[TracedTensor]:
        for tensor in super().trace(artifact, inputs, threads):
            yield dataclasses.replace(tensor, layer=f"node of {tensor.tensor}")


@dataclass(frozen=True)
class TracesTooLittle(BadRunner):
    """Does not show all that the model hands out."""

    name: str = "bad.traces-too-little"

    def trace(
        self, artifact: Artifact, inputs: Sequence[Any], threads: int
    ) -> Iterator[TracedTensor]:
        for tensor in super().trace(artifact, inputs, threads):
            if not tensor.layer.startswith("b/"):
                yield tensor


@dataclass(frozen=True)
class ProfilesStrangers(BadRunner):
    """Calls kernels by names that the inspector does not know."""

    name: str = "bad.profiles-strangers"

    def profile(
        self, artifact: Artifact, inputs: Sequence[Any], threads: int, runs: int, folder: Path
    ) -> ExecutionProfile:
        kernel = ExecutedLayer("k", "MULTIPLY", "float32", 0.0, layers=("kernel 1",))
        return ExecutionProfile("", self.name, (kernel,), runs, wall_seconds=1.0)


@dataclass(frozen=True)
class BadInspector(ToyInspector):
    format: str = "brick"


@dataclass(frozen=True)
class BareInspector(BadInspector):
    name: str = "bad.bare-inspector"

    def inspect(self, path: Path, read: ReadOptions) -> Inspection:
        json.loads(path.read_text("utf-8"))
        return super().inspect(path, read)


@dataclass(frozen=True)
class LeaksPath(BadInspector):
    name: str = "bad.leaks-path"

    def inspect(self, path: Path, read: ReadOptions) -> Inspection:
        return dataclasses.replace(super().inspect(path, read), producer=str(path))


@dataclass(frozen=True)
class TrustsNames(BadInspector):
    """Believes what it was told instead of reading."""

    name: str = "bad.trusts-names"

    def inspect(self, path: Path, read: ReadOptions) -> Inspection:
        found = super().inspect(path, read)
        return dataclasses.replace(found, state=dataclasses.replace(found.state, precision="int8"))


@dataclass(frozen=True)
class RepeatsLayers(BadInspector):
    name: str = "bad.repeats-layers"

    def inspect(self, path: Path, read: ReadOptions) -> Inspection:
        found = super().inspect(path, read)
        return dataclasses.replace(found, layers=(*found.layers, found.layers[0]))


@dataclass(frozen=True)
class ShufflesLayers(BadInspector):
    name: str = "bad.shuffles-layers"

    def inspect(self, path: Path, read: ReadOptions) -> Inspection:
        found = super().inspect(path, read)
        return dataclasses.replace(found, layers=found.layers[::-1])


@dataclass(frozen=True)
class ListsOtherOperators(BadInspector):
    """Tells accelerators of other operators than the user."""

    name: str = "bad.lists-other-operators"

    def operations(self, path: Path, read: ReadOptions) -> Sequence[Operation]:
        found = super().inspect(path, read)
        return tuple(Operation(x.name, "OTHER", (), ()) for x in found.layers)


@dataclass(frozen=True)
class SloppySpecs(BadInspector):
    name: str = "bad.sloppy-specs"

    def inspect(self, path: Path, read: ReadOptions) -> Inspection:
        found = super().inspect(path, read)
        first = dataclasses.replace(found.outputs[0], dtype="FLOAT", shape=(-1, 3))
        return dataclasses.replace(found, outputs=(first, *found.outputs[1:]))


@dataclass(frozen=True)
class RichTraits(BadInspector):
    """A trait that JSON turns into something else."""

    name: str = "bad.rich-traits"

    def inspect(self, path: Path, read: ReadOptions) -> Inspection:
        found = super().inspect(path, read)
        shape: Any = (1, 2)
        return dataclasses.replace(found, traits={**found.traits, "shape": shape})


@dataclass(frozen=True)
class ReadsGarbage(BadInspector):
    name: str = "bad.reads-garbage"

    def inspect(self, path: Path, read: ReadOptions) -> Inspection:
        try:
            return super().inspect(path, read)
        except InputError:
            model = {**toy.build({"a": (1, 0)}), "format": "brick"}
            return Inspection(toy.state(model), (), toy.output_specs(model))


@dataclass(frozen=True)
class TouchesFile(BadInspector):
    name: str = "bad.touches-file"

    def inspect(self, path: Path, read: ReadOptions) -> Inspection:
        found = super().inspect(path, read)
        path.with_name("index.json").write_text("{}")
        return found


@dataclass(frozen=True)
class AcceptsAll(ArraySource):
    name: str = "bad.accepts-all"

    def accepts(self, path: Path) -> bool:
        return True


@dataclass(frozen=True)
class Unsorted(ArraySource):
    name: str = "bad.unsorted"

    def files(self, path: Path) -> tuple[Path, ...]:
        found = super().files(path)
        return found[::-1] + found[:1]


@dataclass(frozen=True)
class Unseeded(ArraySource):
    name: str = "bad.unseeded"

    def read(
        self,
        path: Path,
        artifact: Artifact,
        overrides: Mapping[str, Any],
        limit: int | None,
        seed: int,
    ) -> Iterator[tuple[Any, ...]]:
        return super().read(path, artifact, overrides, limit, random.SystemRandom().getrandbits(32))


@dataclass(frozen=True)
class Deaf(ArraySource):
    """Swallows settings that it does not know."""

    name: str = "bad.deaf"

    def read(
        self,
        path: Path,
        artifact: Artifact,
        overrides: Mapping[str, Any],
        limit: int | None,
        seed: int,
    ) -> Iterator[tuple[Any, ...]]:
        return super().read(path, artifact, {}, limit, seed)


@dataclass(frozen=True)
class Stingy(ArraySource):
    """Gives one sample, whatever was asked."""

    name: str = "bad.stingy"

    def read(
        self,
        path: Path,
        artifact: Artifact,
        overrides: Mapping[str, Any],
        limit: int | None,
        seed: int,
    ) -> Iterator[tuple[Any, ...]]:
        return super().read(path, artifact, overrides, 1, seed)


@dataclass(frozen=True)
class Scribbles(ArraySource):
    name: str = "bad.scribbles"

    def read(
        self,
        path: Path,
        artifact: Artifact,
        overrides: Mapping[str, Any],
        limit: int | None,
        seed: int,
    ) -> Iterator[tuple[Any, ...]]:
        if overrides:
            raise CalibrationError("no settings")
        (path if path.is_dir() else path.parent).joinpath("index.txt").write_text("index")
        return super().read(path, artifact, overrides, limit, seed)


class Bad:
    """A plugin that offers them all."""

    @hookimpl
    def convkit_runners(self) -> tuple[Runner, ...]:
        return tuple(kind() for kind in BadRunner.__subclasses__())

    @hookimpl
    def convkit_inspectors(self) -> tuple[Inspector, ...]:
        return tuple(kind() for kind in BadInspector.__subclasses__())

    @hookimpl
    def convkit_calibration_sources(self) -> tuple[CalibrationSource, ...]:
        return tuple(kind() for kind in ArraySource.__subclasses__())


BAD = Bad()
