"""A converter that is off by a little: float16 would explain it, and float32 does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from convkit.plugin import Artifact, Converter, ConverterBase, HopContext, State, hookimpl

LITTLE = 1.005


class Nudger(ConverterBase):
    """ONNX to OpenVINO with every weight half a percent too large."""

    name = "nudger.openvino"
    source = State("onnx")
    target = State("openvino")

    def convert(
        self, artifact: Artifact, output: Path, options: Mapping[str, Any], context: HopContext
    ) -> Artifact:
        """See `Converter.convert`."""
        import onnx
        import openvino

        model = onnx.load(artifact.path)
        for tensor in model.graph.initializer:
            if tensor.data_type == onnx.TensorProto.FLOAT:
                array = onnx.numpy_helper.to_array(tensor) * LITTLE
                tensor.CopyFrom(onnx.numpy_helper.from_array(array.astype("float32"), tensor.name))
        onnx.save(model, context.workdir / "m.onnx")
        made = openvino.convert_model(str(context.workdir / "m.onnx"))
        openvino.save_model(made, str(output), compress_to_fp16=False)
        return Artifact(output, self.target, artifact.inputs, artifact.outputs)


@hookimpl
def convkit_converters() -> Iterable[Converter]:
    """The only one."""
    return (Nudger(),)
