"""`openvino.from-tflite`: TFLite to OpenVINO IR, in float, half and static int8."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convkit.plugin import Artifact, HopContext, State, TraitRequirement
from convkit_openvino.edge import IntoOpenVino
from convkit_openvino.runtime import REQUIREMENTS

if TYPE_CHECKING:
    import openvino

    from convkit_openvino.frontends import Names


class FromTflite(IntoOpenVino):
    """Names of the signature, where the file has one, order and layout are kept."""

    name: str = "openvino.from-tflite"
    source: State = State("tflite")
    requirements: tuple[str, ...] = (*REQUIREMENTS, "ai-edge-litert", "flatbuffers")
    # OpenVINO has no quantized inputs: their scales would be lost.
    requires: tuple[TraitRequirement, ...] = (TraitRequirement("quantized_io", one_of=(False,)),)

    def translate(self, artifact: Artifact, context: HopContext | None) -> openvino.Model:
        """See `IntoOpenVino.translate`."""
        from convkit_openvino import frontends

        return frontends.translate("tflite", str(artifact.path))

    def names(self, artifact: Artifact) -> Names:
        """OpenVINO goes by tensor names, convkit by those of the signature."""
        from convkit_openvino.tflite_names import signature

        return signature(artifact.path)


class FromTfliteFp16(FromTflite):
    """The half-precision weights of the file, as they are."""

    name: str = "openvino.from-tflite-fp16"
    source: State = State("tflite", "fp16")
    target: State = State("openvino", "fp16")


class FromTfliteInt8(FromTflite):
    """The integers, scales and zero points of the file, as FakeQuantize and int8 constants."""

    name: str = "openvino.from-tflite-int8"
    source: State = State("tflite", "int8")
    target: State = State("openvino", "int8")
    loss: int = 3
