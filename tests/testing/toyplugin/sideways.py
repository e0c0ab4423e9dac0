"""Honest edges that are not straightforward: one that turns the axes, and choosy ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from convkit.plans import OptionValue
from convkit.plugin import Artifact, Converter, HopContext, Obstacle, Option, State, hookimpl
from tests.testing.toyplugin import model as toy
from tests.testing.toyplugin.converters import ToyConverter

TURNED = (1, 0)


class Sideways(ToyConverter):
    """toy -> brick with all axes of `x` and of the outputs turned, unless told otherwise."""

    name: str = "sideways.brick"
    source: State = State("toy")
    target: State = State("brick")
    seconds: float = 0.1
    options: tuple[Option, ...] = (
        Option("io_layout", "native", "axes of inputs and outputs", choices=("source", "native")),
    )

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, OptionValue],
        context: HopContext,
    ) -> Artifact:
        described = super().convert(artifact, output, options, context)
        if options["io_layout"] == "source":
            return described
        first, *others = described.inputs
        turned = dataclasses.replace(first, permutation=TURNED)
        outputs = tuple(dataclasses.replace(s, permutation=TURNED) for s in described.outputs)
        return dataclasses.replace(described, inputs=(turned, *others), outputs=outputs)

    def change(
        self, model: toy.Model, options: Mapping[str, OptionValue], context: HopContext
    ) -> toy.Model:
        model = super().change(model, options, context)
        return {**model, "sideways": options["io_layout"] == "native"}


class Choosy(ToyConverter):
    """toy -> brick, but only of models without a step; it says so before it is tried."""

    name: str = "choosy.brick"
    source: State = State("toy")
    target: State = State("brick")
    seconds: float = 0.1

    def check(self, artifact: Artifact, options: Mapping[str, OptionValue]) -> Sequence[Obstacle]:
        """The step of each head."""
        if len(artifact.inputs) == 1:
            return ()
        layers = tuple(f"{s.name}/multiply" for s in artifact.outputs)
        return (Obstacle("STEP", layers, "Leave the step out."),)

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, OptionValue],
        context: HopContext,
    ) -> Artifact:
        assert len(artifact.inputs) == 1, "it was not to be tried"
        return super().convert(artifact, output, options, context)


class ChoosyCrate(Choosy):
    """The same, one hop further on."""

    name: str = "choosy.crate"
    source: State = State("brick")
    target: State = State("toy-crate")


class Shaky(ToyConverter):
    """toy -> brick, with a check that raises."""

    name: str = "shaky.brick"
    source: State = State("toy")
    target: State = State("brick")
    seconds: float = 0.1

    def check(self, artifact: Artifact, options: Mapping[str, OptionValue]) -> Sequence[Obstacle]:
        raise KeyError("no such table")


class Offer:
    """A plugin that offers some converters."""

    def __init__(self, *converters: Converter) -> None:
        self._converters = converters

    @hookimpl
    def convkit_converters(self) -> Iterable[Converter]:
        return self._converters


turning = Offer(Sideways())
choosy = Offer(Choosy(), ChoosyCrate())
shaky = Offer(Shaky())
