"""Every tool as one calls it by hand: no check, no simplification, no verification.

Each "converter" reads the inputs, converts, runs the result in the tool's own runtime and writes
the outputs, in the order of the model's own. It serves as the yardstick: convkit must reach what
the tool reaches alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from convkit.plans import OptionValue
from convkit.plugin import Artifact, ConverterBase, HopContext, State, hookimpl


class ByHand(ConverterBase):
    """Shared reading and writing; subclasses call the tool."""

    source: State = State("onnx")
    target: State = State("onnx")

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, OptionValue],
        context: HopContext,
    ) -> Artifact:
        """Write the outputs of one sample to `output`, an npz file: the environments of old tools
        hold nothing better."""
        import numpy as np

        assert context.calibration is not None
        with np.load(context.calibration.path) as arrays:
            inputs = [arrays[str(n)] for n in range(len(arrays))]
        found = self.call(artifact, inputs, context.workdir)
        np.savez(output, **{str(n): v for n, v in enumerate(found)})
        return artifact

    def call(self, artifact: Artifact, inputs: Sequence[Any], folder: Path) -> Sequence[Any]:
        """Outputs in the order of the artifact's."""
        raise NotImplementedError


class OpenVino(ByHand):
    """`openvino.convert_model`, then the CPU plugin in float32."""

    name: str = "bare.openvino"

    def call(self, artifact: Artifact, inputs: Sequence[Any], folder: Path) -> Sequence[Any]:
        import openvino as ov

        model = ov.convert_model(str(artifact.path))
        compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        results = compiled(dict(enumerate(inputs)))
        return [results[n] for n in range(len(compiled.outputs))]


class Onnx2Torch(ByHand):
    """`onnx2torch.convert`, then the module."""

    name: str = "bare.onnx2torch"

    def call(self, artifact: Artifact, inputs: Sequence[Any], folder: Path) -> Sequence[Any]:
        import onnx2torch
        import torch

        module = onnx2torch.convert(str(artifact.path)).eval()
        with torch.no_grad():
            results = module(*(torch.from_numpy(x) for x in inputs))
        whole = results if isinstance(results, list | tuple) else [results]
        return [r.numpy() for r in whole]


class Onnx2Fx(ByHand):
    """`onnx2fx.convert`, then the module."""

    name: str = "bare.onnx2fx"

    def call(self, artifact: Artifact, inputs: Sequence[Any], folder: Path) -> Sequence[Any]:
        import onnx
        import onnx2fx
        import torch

        module = onnx2fx.convert(onnx.load(str(artifact.path))).eval()
        with torch.no_grad():
            results = module(*(torch.from_numpy(x) for x in inputs))
        if isinstance(results, dict):
            results = list(results.values())
        whole = results if isinstance(results, list | tuple) else [results]
        return [r.numpy() for r in whole]


class OnnxTf(ByHand):
    """`onnx_tf.backend.prepare`, then its SavedModel."""

    name: str = "bare.onnx-tf"

    def call(self, artifact: Artifact, inputs: Sequence[Any], folder: Path) -> Sequence[Any]:
        import onnx
        import tensorflow as tf
        from onnx_tf.backend import prepare

        model = onnx.load(str(artifact.path))
        prepare(model).export_graph(str(folder / "saved"))
        signature = tf.saved_model.load(str(folder / "saved")).signatures["serving_default"]
        initial = {i.name for i in model.graph.initializer}
        names = [i.name for i in model.graph.input if i.name not in initial]
        wanted = [o.name for o in model.graph.output]
        results = signature(**dict(zip(names, map(tf.constant, inputs), strict=True)))
        return [results[name].numpy() for name in wanted]


class TfLiteToOnnx(ByHand):
    """`tf2onnx.convert.from_tflite`, then ONNX Runtime."""

    name: str = "bare.tf2onnx"

    def call(self, artifact: Artifact, inputs: Sequence[Any], folder: Path) -> Sequence[Any]:
        import onnxruntime
        import tf2onnx

        path = folder / "back.onnx"
        tf2onnx.convert.from_tflite(str(artifact.path), opset=18, output_path=str(path))
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        given = {s.name: x.astype(s.dtype) for s, x in zip(artifact.inputs, inputs, strict=True)}
        results = session.run([s.name for s in artifact.outputs], given)
        return list(results)


@hookimpl
def convkit_converters() -> Iterable[ConverterBase]:
    """All of them; nothing plans with an edge from a state to itself that promises no trait."""
    return (OpenVino(), Onnx2Torch(), Onnx2Fx(), OnnxTf(), TfLiteToOnnx())
