"""The edges tf-frozen -> tflite: those from tf-saved, behind a SavedModel of constants."""

from __future__ import annotations

from convkit.plugin import Artifact, HopContext, State
from convkit_tensorflow.tflite_float import DynamicInt8, Float16, Float32
from convkit_tensorflow.tflite_int8 import StaticInt8
from convkit_tensorflow.unfreeze import Unfreeze


class _FromFrozen:
    """Mixed in before an edge from tf-saved."""

    source: State = State("tf-frozen")

    def as_saved(self, artifact: Artifact, context: HopContext) -> Artifact:
        """A SavedModel around the graph, under the graph's own file name for error messages."""
        return Unfreeze().convert(artifact, context.workdir / artifact.path.name, {}, context)


class FrozenFloat32(_FromFrozen, Float32):
    """TFLite in float32, from a frozen graph."""

    name: str = "tensorflow.frozen-tflite"


class FrozenFloat16(_FromFrozen, Float16):
    """Weights in float16, from a frozen graph."""

    name: str = "tensorflow.frozen-tflite-fp16"


class FrozenDynamicInt8(_FromFrozen, DynamicInt8):
    """Weights in int8, activations quantized at run time, from a frozen graph."""

    name: str = "tensorflow.frozen-tflite-dynamic"


class FrozenStaticInt8(_FromFrozen, StaticInt8):
    """Integer weights and activations, from a frozen graph."""

    name: str = "tensorflow.frozen-tflite-int8"
    float_twin: str = FrozenFloat32.name
