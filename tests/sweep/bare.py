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
        return [_bits_read(results[n], o) for n, o in enumerate(compiled.outputs)]


def _bits_read(array: Any, port: Any) -> Any:
    """What OpenVINO hands out as the bits of another type, by its own."""
    import ml_dtypes

    names = {"bf16": "bfloat16", "f8e4m3": "float8_e4m3fn", "f8e5m2": "float8_e5m2"}
    name = names.get(port.get_element_type().get_type_name())
    # as float32, since the results go through a file of numpy's own types
    return array.view(getattr(ml_dtypes, name)).astype("float32") if name else array


class Onnx2Torch(ByHand):
    """`onnx2torch.convert`, then the module as a file."""

    name: str = "bare.onnx2torch"

    def call(self, artifact: Artifact, inputs: Sequence[Any], folder: Path) -> Sequence[Any]:
        import onnx2torch
        import torch

        module = onnx2torch.convert(str(artifact.path)).eval()
        return _by_file(module, [torch.from_numpy(x) for x in inputs], folder)


class Onnx2Fx(ByHand):
    """`onnx2fx.convert`, then the module as a file."""

    name: str = "bare.onnx2fx"

    def call(self, artifact: Artifact, inputs: Sequence[Any], folder: Path) -> Sequence[Any]:
        import onnx
        import onnx2fx
        import torch

        module = onnx2fx.convert(onnx.load(str(artifact.path))).eval()
        return _by_file(module, [torch.from_numpy(x) for x in inputs], folder)


def _by_file(module: Any, inputs: Sequence[Any], folder: Path) -> Sequence[Any]:
    """What a module gives once it is a file that can be handed on: both importers make objects in
    memory, and torch.export is how one of them becomes a file."""
    import torch

    path = str(folder / "model.pt2")
    with torch.no_grad():
        torch.export.save(torch.export.export(module, tuple(inputs)), path)
        results = torch.export.load(path).module()(*inputs)
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


class Onnx2TfSaved(ByHand):
    """`onnx2tf.convert`, then its SavedModel.

    Inputs keep their axes (`-kat`); the outputs are as onnx2tf leaves them. Only what makes it slow
    without changing what it does is left out, as the plugin does: importing onnxsim anew three
    times a model, executing its TFLite schema, collecting TensorFlow as garbage. TensorFlow is
    handed over as the plugin does it, since tf-keras, which nothing here uses, is not installed.
    """

    name: str = "bare.onnx2tf-saved"
    saved: bool = True

    def call(self, artifact: Artifact, inputs: Sequence[Any], folder: Path) -> Sequence[Any]:
        import os
        import shutil
        import sys

        import onnx

        sys.path.append(str(Path(__file__).parents[2] / "plugins" / "convkit-onnx2tf"))
        from convkit_onnx2tf import simplifier, tool

        graph = onnx.load(str(artifact.path)).graph
        initial = {i.name for i in graph.initializer}
        names = [i.name for i in graph.input if i.name not in initial]
        path, made = folder / "model.onnx", folder / "made"
        shutil.copy(artifact.path, path)
        before = Path.cwd()
        os.chdir(folder)
        try:
            with tool._environment(folder):
                from onnx2tf.onnx2tf import convert

                if self.saved:
                    tool._provide_tensorflow()
                tool._modules_are_no_garbage(self.saved)
                with tool._schema_loaded_once(), simplifier.simplifier_kept():
                    convert(
                        input_onnx_file_path=str(path),
                        output_folder_path=str(made),
                        flatbuffer_direct_output_saved_model=self.saved,
                        keep_shape_absolutely_input_names=names,
                        verbosity="error",
                    )
        finally:
            os.chdir(before)
        given = dict(zip(names, inputs, strict=True))
        found = self.run(made, given)
        return [_called(o.name, found, n) for n, o in enumerate(graph.output)]

    def run(self, made: Path, inputs: dict[str, Any]) -> dict[str, Any]:
        """Outputs by name."""
        import tensorflow as tf

        signature = tf.saved_model.load(str(made)).signatures["serving_default"]
        specs = signature.structured_input_signature[1]
        given = {
            own: tf.constant(_called(own, inputs, n), specs[own].dtype)
            for n, own in enumerate(specs)
        }
        return {name: value.numpy() for name, value in signature(**given).items()}


class Onnx2TfTflite(Onnx2TfSaved):
    """`onnx2tf.convert`, then its TFLite file."""

    name: str = "bare.onnx2tf-tflite"
    saved: bool = False

    def run(self, made: Path, inputs: dict[str, Any]) -> dict[str, Any]:
        """Outputs by name."""
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_path=str(made / "model_float32.tflite"))
        details = interpreter.get_input_details()
        values = [_called(d["name"], inputs, n) for n, d in enumerate(details)]
        for detail, value in zip(details, values, strict=True):
            if tuple(detail["shape"]) != value.shape:
                interpreter.resize_tensor_input(detail["index"], value.shape)
        interpreter.allocate_tensors()
        for detail, value in zip(details, values, strict=True):
            interpreter.set_tensor(detail["index"], value.astype(detail["dtype"]))
        interpreter.invoke()
        return {
            d["name"]: interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()
        }


def _called(name: str, values: Mapping[str, Any], number: int) -> Any:
    """A value by its name, or by its place where the tool gave it another one."""
    return values[name] if name in values else list(values.values())[number]


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
    return (
        OpenVino(),
        Onnx2Torch(),
        Onnx2Fx(),
        OnnxTf(),
        Onnx2TfSaved(),
        Onnx2TfTflite(),
        TfLiteToOnnx(),
    )
