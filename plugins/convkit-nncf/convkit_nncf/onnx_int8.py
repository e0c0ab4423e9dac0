"""`nncf.onnx-int8`: weights and activations of an ONNX model in 8 bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from convkit.artifact import PARAMETER_BYTES
from convkit.errors import ConversionError
from convkit.plans import OptionValue
from convkit.plugin import Artifact, ConverterBase, HopContext, Option, State, TraitRequirement
from convkit_nncf.onnx_file import LARGE_BYTES
from convkit_nncf.settings import STATIC
from convkit_nncf.tool import REQUIREMENTS


class OnnxInt8(ConverterBase):
    """Post-training quantization to QuantizeLinear and DequantizeLinear pairs: a rival of the
    quantizer that ONNX Runtime brings itself, which knows its own kernels better."""

    name: str = "nncf.onnx-int8"
    source: State = State("onnx")
    target: State = State("onnx", "int8")
    requirements: tuple[str, ...] = (*REQUIREMENTS, "onnx", "onnxruntime")
    loss: int = 4
    seconds: float = 25.0
    needs_calibration: bool = True
    takes_recipe: bool = True
    options: tuple[Option, ...] = STATIC
    requires: tuple[TraitRequirement, ...] = (
        TraitRequirement("opset", minimum=13),  # a scale per channel came with it
        TraitRequirement(PARAMETER_BYTES, maximum=LARGE_BYTES),
    )

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, OptionValue],
        context: HopContext,
    ) -> Artifact:
        """See `Converter.convert`.

        Raises:
            InputError: the file is damaged.
            ConversionError: NNCF fails, or a layer of the recipe does not exist or did not stay
                in float.
        """
        from convkit_nncf import onnx_file, samples, scope, settings, tool

        context.progress("loading NNCF", None)
        nncf = tool.load()
        model = onnx_file.read(artifact.path)
        ends = _interface(model)
        kept = scope.wanted(context, {node.name for node in model.graph.node})
        limit = int(options["subset_size"])
        data = samples.of(context, {spec.name: spec.dtype for spec in artifact.inputs}, limit)
        # ONNX Runtime's fast kernels take unsigned activations, which `mixed` makes of all.
        keywords = settings.arguments(nncf, options, onnx_file.graph(model), lopsided=True)
        with tool.failures("quantize the model"):
            made = nncf.quantize(
                model,
                nncf.Dataset(data),
                subset_size=limit,
                ignored_scope=scope.ignored(nncf, kept),
                **keywords,
            )
        scope.prove(kept, onnx_file.behind_quantizers(made))
        if _interface(made) != ends:
            raise ConversionError("NNCF changed the model's inputs or outputs")
        context.progress("writing", None)
        output.write_bytes(made.SerializeToString(deterministic=True))
        return replace(artifact, path=output, state=self.target, digest="", size_bytes=0)


def _interface(model: Any) -> list[tuple[str, int]]:
    """Names and types of inputs and outputs, in order; shapes may have become known."""
    weights = {tensor.name for tensor in model.graph.initializer}
    values = (*(v for v in model.graph.input if v.name not in weights), *model.graph.output)
    return [(value.name, value.type.tensor_type.elem_type) for value in values]
