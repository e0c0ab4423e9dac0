"""`litert.widen` and `litert.dequantize`: a TFLite file written out in float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from convkit.artifact import PARAMETER_BYTES
from convkit.errors import ConversionError
from convkit.plans import OptionValue
from convkit.plugin import (
    Artifact,
    ConverterBase,
    HopContext,
    Obstacle,
    State,
    TraitProvision,
)

_REMEDY = "Start from the float model that it was made from, if there is one."


class Widen(ConverterBase):
    """For tools that take no half precision: weights in float16 become the same numbers in float32,
    which is what the runtime computes with anyway."""

    name: str = "litert.widen"
    source: State = State("tflite", "fp16")
    target: State = State("tflite")
    requirements: tuple[str, ...] = ("ai-edge-litert", "flatbuffers", "numpy", "ml_dtypes")
    seconds: float = 1.0
    widens: bool = True
    provides: tuple[TraitProvision, ...] = (TraitProvision("quantized_io", value=False),)

    def check(self, artifact: Artifact, options: Mapping[str, OptionValue]) -> Sequence[Obstacle]:
        """Integers that have no plain form in float: states of recurrent cells, weights that are
        stored sparsely or in blocks."""
        from convkit_litert import in_float, packing
        from convkit_litert.model import load

        graphs = load(artifact.path).subgraphs
        found: dict[str, list[str]] = {}
        for reason, code, graph, place in in_float.obstacles(
            packing.unpack(artifact.path.read_bytes())
        ):
            tensors, operator = graphs[graph].tensors, graphs[graph].operators[place]
            name = tensors[operator.outputs[0]].name if operator.outputs else ""
            found.setdefault(f"{code} with {reason}", []).append(name)
        return tuple(Obstacle(what, tuple(names), _REMEDY) for what, names in found.items())

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, OptionValue],
        context: HopContext,
    ) -> Artifact:
        """Write the model in float; see `Converter`.

        Raises:
            ConversionError: it would be larger than a TFLite file can be.
        """
        from convkit_litert import in_float, packing
        from convkit_litert.inspector import describe
        from convkit_litert.model import load, parse
        from convkit_litert.quantizers import specs_in_order

        load(artifact.path)  # which checks the bounds that unpacking does not
        context.progress("loading", None)
        model = packing.unpack(artifact.path.read_bytes())
        large = in_float.size(model)
        if large > in_float.LARGEST:
            raise ConversionError(
                f"in float32 the weights take {large / 1e9:.1f} GB, a TFLite file 2.1 GB at most",
                hint=_REMEDY,
            )
        context.progress("writing in float", None)
        in_float.write_out(model)
        data = packing.pack(model)
        inspection = describe(parse(data, output.name))
        output.write_bytes(data)
        stale = (PARAMETER_BYTES, "activations")
        kept = {name: value for name, value in artifact.traits.items() if name not in stale}
        return replace(
            artifact,
            path=output,
            state=self.target,
            inputs=specs_in_order(artifact.inputs, inspection.inputs),
            outputs=specs_in_order(artifact.outputs, inspection.outputs),
            traits={**kept, **inspection.traits},
        )


class Dequantize(Widen):
    """For tools that have no integers, or not these operators: weights become float32, and each
    step of the integers a rounding. The result computes what the integer model computes, in float;
    it is neither smaller nor faster than a float model. Inputs and outputs are float32."""

    name: str = "litert.dequantize"
    source: State = State("tflite", "int8")


class DequantizeDynamic(Widen):
    """The same of a model whose weights alone are integers in the file. What its kernels round
    while they run is not rounded any more, which brings it nearer to what it was made from."""

    name: str = "litert.dequantize-dynamic"
    source: State = State("tflite", "int8-dynamic")
