"""`openvino.from-onnx`: ONNX to OpenVINO IR."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convkit.errors import InputError
from convkit.plugin import Artifact, HopContext, State, TraitRequirement
from convkit_openvino.edge import IntoOpenVino
from convkit_openvino.runtime import REQUIREMENTS

if TYPE_CHECKING:
    import openvino


class FromOnnx(IntoOpenVino):
    """Names, order and open dimensions are kept. External data is read where it lies; that it does
    not lead out of the model's folder was seen to when the model was inspected."""

    name: str = "openvino.from-onnx"
    source: State = State("onnx")
    requirements: tuple[str, ...] = (*REQUIREMENTS, "onnx")

    def translate(self, artifact: Artifact, context: HopContext | None) -> openvino.Model:
        """See `IntoOpenVino.translate`."""
        import onnx

        from convkit_openvino import frontends

        # An empty file is a valid protobuf, of which the front end makes a model without outputs.
        try:
            whole = onnx.load(str(artifact.path), load_external_data=False).graph.node
        except Exception as exc:  # google.protobuf.message.DecodeError and others
            raise InputError(f"{artifact.path.name} is not a complete ONNX file") from exc
        if not whole:
            raise InputError(f"{artifact.path.name} holds no ONNX graph")

        return frontends.translate("onnx", str(artifact.path))

    def holders(self, artifact: Artifact, operator: str) -> tuple[str, ...]:
        """Nodes by operator; the front end puts a foreign domain in front, `domain.Operator`."""
        import onnx

        kind = operator.rpartition(".")[2]
        graph = onnx.load(str(artifact.path), load_external_data=False).graph
        return tuple(
            node.name or f"{node.op_type}_{index}"
            for index, node in enumerate(graph.node)
            if node.op_type == kind
        )


class FromOnnxFp16(FromOnnx):
    """ONNX whose weights are half already: not a number changes."""

    name: str = "openvino.from-onnx-fp16"
    source: State = State("onnx", "fp16")
    target: State = State("openvino", "fp16")


class FromOnnxInt8(FromOnnx):
    """QuantizeLinear and DequantizeLinear become FakeQuantize and int8 constants, with the scales
    and zero points of the file."""

    name: str = "openvino.from-onnx-int8"
    source: State = State("onnx", "int8")
    target: State = State("openvino", "int8")
    loss: int = 3
    # OpenVINO has no rules for most of the quantized operators of the other style.
    requires: tuple[TraitRequirement, ...] = (TraitRequirement("quantized", one_of=("qdq",)),)
