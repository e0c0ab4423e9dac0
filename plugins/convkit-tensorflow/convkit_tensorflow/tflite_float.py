"""The edges tf-saved -> tflite that need no calibration: float32, float16 and dynamic int8."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convkit.plugin import Artifact, ConverterBase, HopContext, State, TraitRequirement
from convkit_tensorflow import graph, tfl_model, tflite
from convkit_tensorflow.runtime import FLATBUFFERS, REQUIREMENTS, tensorflow


class Float32(ConverterBase):
    """TFLite in float32, with builtin operators only; signature names are kept."""

    name: str = "tensorflow.tflite"
    source: State = State("tf-saved")
    target: State = State("tflite")
    requirements: tuple[str, ...] = (*REQUIREMENTS, FLATBUFFERS)
    requires: tuple[TraitRequirement, ...] = (graph.FITS_IN_ONE_MESSAGE,)
    seconds: float = 10.0

    def as_saved(self, artifact: Artifact, context: HopContext) -> Artifact:
        """The SavedModel to convert."""
        return artifact

    def configure(self, tf: Any, converter: Any) -> None:
        """Set the TFLiteConverter's options; float32 is its default."""

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, bool | int | float | str],
        context: HopContext,
    ) -> Artifact:
        """See `Converter.convert`."""
        context.progress("loading TensorFlow", None)
        tf = tensorflow(context.threads)
        artifact = self.as_saved(artifact, context)
        converter, _ = tflite.converter(tf, artifact.path, context.workdir)
        self.configure(tf, converter)
        context.progress("converting", None)
        try:
            data = converter.convert()
        except Exception as exc:
            raise tflite.failure(artifact.path, exc) from exc
        inputs, outputs = tfl_model.specs(tfl_model.read(data), artifact)
        output.write_bytes(data)
        return Artifact(output, self.target, inputs, outputs, read=artifact.read)


class Float16(Float32):
    """Weights in float16; they are widened to float32 when the file is loaded."""

    name: str = "tensorflow.tflite-fp16"
    target: State = State("tflite", "fp16")
    loss: int = 1

    def configure(self, tf: Any, converter: Any) -> None:
        """See `Float32.configure`."""
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]


class DynamicInt8(Float32):
    """Weights in int8, activations quantized at run time."""

    name: str = "tensorflow.tflite-dynamic"
    target: State = State("tflite", "int8-dynamic")
    loss: int = 2

    def configure(self, tf: Any, converter: Any) -> None:
        """See `Float32.configure`."""
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
