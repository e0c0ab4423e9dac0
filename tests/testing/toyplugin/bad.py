"""Converters that break the contract, one way each; `BAD` offers them all.

All lead from toy to brick (or to brick-int8) and are cheaper than the good ones, so that the
planner prefers them.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path

from convkit.artifact import TensorSpec
from convkit.errors import ConversionError, InputError
from convkit.plans import OptionValue
from convkit.plugin import Artifact, Converter, HopContext, Option, State, TraitProvision, hookimpl
from tests.testing.toyplugin import model as toy
from tests.testing.toyplugin.converters import OPSET, Static, ToyConverter

CHUNK_MB = 64
MOST_MB = 4096
"""Where the glutton stops, should nobody stop it."""


class Faulty(ToyConverter):
    """A good conversion with a hook before and after it."""

    source: State = State("toy")
    target: State = State("brick")
    seconds: float = 0.1

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, OptionValue],
        context: HopContext,
    ) -> Artifact:
        self.before(artifact, output)
        described = super().convert(artifact, output, options, context)
        return self.after(artifact, output, described)

    def before(self, artifact: Artifact, output: Path) -> None:
        """Before anything is read."""

    def after(self, artifact: Artifact, output: Path, described: Artifact) -> Artifact:
        """After everything is written."""
        return described


class WritesAfar(Faulty):
    """Far from every folder that is watched: only an audit hook can see it."""

    name: str = "bad.writes-afar"

    def after(self, artifact: Artifact, output: Path, described: Artifact) -> Artifact:
        (artifact.path.parent.parent / "stray.txt").write_text("stray")
        return described


class WritesNatively(Faulty):
    """Past Python, so that no audit hook sees it."""

    name: str = "bad.writes-natively"

    def after(self, artifact: Artifact, output: Path, described: Artifact) -> Artifact:
        import ctypes

        descriptor = ctypes.CDLL(None).creat(b"native.txt", 0o600)
        assert descriptor >= 0
        os.close(descriptor)
        return described


class LeavesLogs(Faulty):
    """In the working folder, as some frameworks do with their dumps."""

    name: str = "bad.leaves-logs"

    def after(self, artifact: Artifact, output: Path, described: Artifact) -> Artifact:
        os.makedirs("dumps", exist_ok=True)
        return described


class UsesTemporaryFiles(Faulty):
    """Which is fine: they lie in the hop's own folder, which is removed."""

    name: str = "noise.uses-temporary-files"

    def after(self, artifact: Artifact, output: Path, described: Artifact) -> Artifact:
        import tempfile

        tempfile.mkdtemp()
        return described


class RemovesStrangers(Faulty):
    name: str = "bad.removes-strangers"

    def after(self, artifact: Artifact, output: Path, described: Artifact) -> Artifact:
        (artifact.path.parent / "notes.txt").unlink(missing_ok=True)
        return described


class ChangesInput(Faulty):
    name: str = "bad.changes-input"

    def after(self, artifact: Artifact, output: Path, described: Artifact) -> Artifact:
        with artifact.path.open("a") as file:
            file.write(" ")
        return described


class WrongNumbers(Faulty):
    name: str = "bad.wrong-numbers"

    def change(
        self, model: toy.Model, options: Mapping[str, OptionValue], context: HopContext
    ) -> toy.Model:
        heads = [
            {**h, "weights": toy.pack(toy.unpack(h["weights"]) * 1.5)} for h in model["outputs"]
        ]
        heads = [{**h, "weights": {**h["weights"], "dtype": "float32"}} for h in heads]
        return {**super().change(model, options, context), "outputs": heads}


class WrongOrder(Faulty):
    name: str = "bad.wrong-order"

    def after(self, artifact: Artifact, output: Path, described: Artifact) -> Artifact:
        return dataclasses.replace(described, outputs=described.outputs[::-1])


class DropsOutput(Faulty):
    name: str = "bad.drops-output"

    def after(self, artifact: Artifact, output: Path, described: Artifact) -> Artifact:
        return dataclasses.replace(described, outputs=described.outputs[:1])


class LiesOnSpecs(Faulty):
    name: str = "bad.lies-on-specs"

    def after(self, artifact: Artifact, output: Path, described: Artifact) -> Artifact:
        first, *others = described.outputs
        lie = TensorSpec(first.name, first.shape, "float64")
        return dataclasses.replace(described, outputs=(lie, *others))


class ClaimsInt8(Faulty):
    name: str = "bad.claims-int8"
    target: State = State("brick", "int8")

    def after(self, artifact: Artifact, output: Path, described: Artifact) -> Artifact:
        return dataclasses.replace(described, state=self.target)


class WrongState(Faulty):
    name: str = "bad.wrong-state"

    def after(self, artifact: Artifact, output: Path, described: Artifact) -> Artifact:
        return dataclasses.replace(described, state=State("brick", "fp16"))


class BreaksPromise(Faulty):
    """Promises an operator set by option and writes another."""

    name: str = "bad.breaks-promise"
    options: tuple[Option, ...] = (OPSET,)
    provides: tuple[TraitProvision, ...] = (TraitProvision("opset", option="opset"),)

    def change(
        self, model: toy.Model, options: Mapping[str, OptionValue], context: HopContext
    ) -> toy.Model:
        return super().change(model, {"opset": 7}, context)


class OddOption(Faulty):
    """An option whose default the command line would refuse."""

    name: str = "bad.odd-option"
    options: tuple[Option, ...] = (Option("grade", 99, "fineness", minimum=1, maximum=9),)


class BareException(Faulty):
    name: str = "bad.bare-exception"

    def before(self, artifact: Artifact, output: Path) -> None:
        import json

        json.loads(artifact.path.read_text("utf-8"))


class HidesCause(Faulty):
    name: str = "bad.hides-cause"

    def before(self, artifact: Artifact, output: Path) -> None:
        try:
            toy.read(artifact.path, "toy")
        except InputError:
            raise ConversionError("it did not work") from None


class HalfWritten(Faulty):
    name: str = "bad.half-written"

    def before(self, artifact: Artifact, output: Path) -> None:
        output.write_text("{")


class SwallowsDamage(Faulty):
    name: str = "bad.swallows-damage"

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, OptionValue],
        context: HopContext,
    ) -> Artifact:
        try:
            return super().convert(artifact, output, options, context)
        except InputError:
            toy.write(toy.build({"a": (1, 0)}), output, "brick")
            return dataclasses.replace(artifact, path=output, state=self.target)


class WritesNothing(Faulty):
    name: str = "bad.writes-nothing"

    def after(self, artifact: Artifact, output: Path, described: Artifact) -> Artifact:
        output.unlink()
        return described


class Moody(Faulty):
    """Never the same file twice."""

    name: str = "bad.moody"

    def change(
        self, model: toy.Model, options: Mapping[str, OptionValue], context: HopContext
    ) -> toy.Model:
        return {**super().change(model, options, context), "mood": uuid.uuid4().hex}


class ChangesFolder(Faulty):
    name: str = "bad.changes-folder"

    def after(self, artifact: Artifact, output: Path, described: Artifact) -> Artifact:
        os.chdir(output.parent)
        return described


class ChangesVariables(Faulty):
    name: str = "bad.changes-variables"

    def after(self, artifact: Artifact, output: Path, described: Artifact) -> Artifact:
        os.environ["TOY_MODE"] = "1"
        return described


class Mute(Faulty):
    name: str = "bad.mute"

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, OptionValue],
        context: HopContext,
    ) -> Artifact:
        silent = dataclasses.replace(context, progress=lambda phase, fraction: None)
        return super().convert(artifact, output, options, silent)


class Mumbles(Faulty):
    name: str = "bad.mumbles"

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, OptionValue],
        context: HopContext,
    ) -> Artifact:
        context.progress("done", 250.0)
        return super().convert(artifact, output, options, context)


class Chatty(Faulty):
    """Frameworks print, to both streams and past Python; that must harm nobody."""

    name: str = "noise.chatty"

    def after(self, artifact: Artifact, output: Path, described: Artifact) -> Artifact:
        sys.stdout.write('{"kind": "result", "id": 0, "result": null}\n')
        sys.stderr.write("a warning\n")
        os.write(1, b"from native code\n" * 1000)
        return described


class Aborts(Faulty):
    name: str = "bad.aborts"

    def after(self, artifact: Artifact, output: Path, described: Artifact) -> Artifact:
        os.abort()


class Segfaults(Faulty):
    name: str = "bad.segfaults"

    def after(self, artifact: Artifact, output: Path, described: Artifact) -> Artifact:
        import ctypes

        ctypes.string_at(0)
        return described


class Exits(Faulty):
    name: str = "bad.exits"

    def after(self, artifact: Artifact, output: Path, described: Artifact) -> Artifact:
        sys.exit(3)


class Hangs(Faulty):
    name: str = "bad.hangs"

    def after(self, artifact: Artifact, output: Path, described: Artifact) -> Artifact:
        time.sleep(3600)
        return described


class EatsMemory(Faulty):
    name: str = "bad.eats-memory"

    def after(self, artifact: Artifact, output: Path, described: Artifact) -> Artifact:
        hoard = []
        for _ in range(0, MOST_MB, CHUNK_MB):
            hoard.append(bytearray(os.urandom(1) * (CHUNK_MB << 20)))
            time.sleep(0.1)
        return described


class FillsDisk(Faulty):
    name: str = "bad.fills-disk"

    def after(self, artifact: Artifact, output: Path, described: Artifact) -> Artifact:
        import errno

        raise OSError(errno.ENOSPC, "No space left on device")


class IgnoresRecipe(Static):
    name: str = "bad.ignores-recipe"

    def change(
        self, model: toy.Model, options: Mapping[str, OptionValue], context: HopContext
    ) -> toy.Model:
        return super().change(model, options, dataclasses.replace(context, recipe=None))


FAULTY: tuple[type[Faulty], ...] = tuple(Faulty.__subclasses__())


class Offer:
    """A plugin that offers some converters."""

    def __init__(self, *converters: Converter) -> None:
        self._converters = converters

    @hookimpl
    def convkit_converters(self) -> Iterable[Converter]:
        return self._converters


BAD = Offer(*(kind() for kind in FAULTY), IgnoresRecipe())


def __getattr__(name: str) -> Offer:
    """`Aborts_only`: a plugin that offers this one converter."""
    kind = next((k for k in FAULTY if f"{k.__name__}_only" == name), None)
    if kind is None:
        raise AttributeError(name)
    return Offer(kind())
