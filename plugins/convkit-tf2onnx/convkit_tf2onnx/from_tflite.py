"""The edge tflite -> onnx."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from convkit.plugin import (
    Artifact,
    ConverterBase,
    HopContext,
    Obstacle,
    Option,
    State,
    TraitProvision,
    TraitRequirement,
)
from convkit_tf2onnx import coverage, tidying, translate, writing
from convkit_tf2onnx.tool import REQUIREMENTS, start


class FromTflite(ConverterBase):
    """A TFLite file in float32 as ONNX. Axes of inputs and outputs stay as they are."""

    name: str = "tf2onnx.from-tflite"
    source: State = State("tflite")
    target: State = State("onnx")
    requirements: tuple[str, ...] = (*REQUIREMENTS, "flatbuffers>=24.3")
    seconds: float = 12.0
    options: tuple[Option, ...] = (translate.OPSET,)
    requires: tuple[TraitRequirement, ...] = (translate.FITS_IN_ONE_MESSAGE,)
    provides: tuple[TraitProvision, ...] = translate.PROVIDES

    def check(
        self, artifact: Artifact, options: Mapping[str, bool | int | float | str]
    ) -> Sequence[Obstacle]:
        """By tf2onnx's registry."""
        start()
        model = tidying.read(artifact.path)
        return coverage.tflite_obstacles(tidying.layers(model), int(options["opset"]))

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, bool | int | float | str],
        context: HopContext,
    ) -> Artifact:
        """See `Converter.convert`."""
        context.progress("loading TensorFlow", None)
        tf = start(context.threads)
        model = tidying.read(artifact.path)
        inputs, outputs = tidying.tidy(model, artifact)
        tidied = context.workdir / "tidied.tflite"
        tidied.write_bytes(tidying.write(model))
        context.progress("translating", None)
        source = translate.Source(inputs, outputs, tflite=tidied)
        result = translate.translate(tf, source, artifact, int(options["opset"]))
        return writing.write(result, artifact, output)
