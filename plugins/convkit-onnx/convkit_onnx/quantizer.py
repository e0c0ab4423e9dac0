"""What ONNX Runtime's static and dynamic quantizers share as edges of the graph."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from convkit.artifact import PARAMETER_BYTES, Trait
from convkit.errors import ConversionError, PrecisionError, UsageError, did_you_mean
from convkit.plans import OptionValue
from convkit.plugin import (
    Artifact,
    ConverterBase,
    HopContext,
    LayerInfo,
    Obstacle,
    Option,
    State,
    TraitRequirement,
)
from convkit_onnx.reading import LARGE_BYTES

if TYPE_CHECKING:
    import onnx

    from convkit_onnx.work import Work

REDUCE_RANGE = Option(
    "reduce_range",
    "auto",
    "weights in 7 of 8 bits: auto does so where sums of products would clip (x86 without VNNI)",
    choices=("auto", "on", "off"),
)
OPERATORS = Option("operators", "", "types of operators to quantize, as in Conv,MatMul; else all")
PREPROCESS = Option("preprocess", True, "fold constants and fuse operators before quantizing")
PER_CHANNEL = Option("per_channel", True, "one scale per output channel of a weight")
WEIGHTS = Option("weights", "QInt8", "type of weights", choices=("QInt8", "QUInt8"))

_NAMED = 3


class Quantizer(ConverterBase):
    """A subclass says which operators it knows, and calls the tool."""

    source: State = State("onnx")
    requirements: tuple[str, ...] = ("onnx", "onnxruntime>=1.32", "safetensors")
    takes_recipe: bool = True
    requires: tuple[TraitRequirement, ...] = (
        TraitRequirement(PARAMETER_BYTES, maximum=LARGE_BYTES),
    )

    def kernels(self, options: Mapping[str, OptionValue]) -> frozenset[str]:
        """Types of operators that are quantized unless the user names some."""
        raise NotImplementedError

    def known(self, options: Mapping[str, OptionValue]) -> frozenset[str]:
        """Types of operators that the tool can quantize at all."""
        raise NotImplementedError

    def quantizes(self, layer: LayerInfo, kinds: Collection[str]) -> bool:
        """Whether a layer would become one of integers."""
        return layer.op_type in kinds

    def opset(self, options: Mapping[str, OptionValue]) -> int:
        """The least opset that the tool needs."""
        raise NotImplementedError

    def activations(self, options: Mapping[str, OptionValue]) -> str:
        """The type of activations, as in `QUInt8`."""
        raise NotImplementedError

    def adapt(self, model: onnx.ModelProto, options: Mapping[str, OptionValue]) -> None:
        """Change the prepared model where the tool would trip over it."""

    def run(self, work: Work) -> Sequence[str]:
        """Call the tool; whatever it raises is wrapped. Answers notes."""
        raise NotImplementedError

    def check(self, artifact: Artifact, options: Mapping[str, OptionValue]) -> Sequence[Obstacle]:
        """Operators without an integer kernel that do half of the work or more."""
        from convkit_onnx import layers, reading

        model = reading.load_light(artifact.path)
        found = layers.model_layers(model, layers.gather(model))
        if any(layer.op_type in layers.WITH_MACS and not layer.macs for layer in found):
            return ()  # a shape is unknown: who does the work cannot be told
        kinds = self._chosen(options, {layer.op_type for layer in found})
        rest = [x for x in found if x.macs and not self.quantizes(x, kinds)]
        if not any(layer.macs for layer in found) or not rest:
            return ()
        if 2 * sum(layer.macs for layer in rest) < sum(layer.macs for layer in found):
            return ()
        what = "/".join(dict.fromkeys(layer.op_type for layer in rest))
        return (
            Obstacle(
                f"{what}, which does most of the arithmetic and has no integer kernel here,",
                tuple(layer.name for layer in rest),
                self.remedy(rest),
            ),
        )

    def remedy(self, layers: Sequence[LayerInfo]) -> str:
        """What to do about layers that cannot be quantized."""
        return "Keep the model in float, or in float16: --to onnx-fp16."

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, OptionValue],
        context: HopContext,
    ) -> Artifact:
        """Quantize; see `Converter`.

        Raises:
            UsageError: options that contradict each other.
            ConversionError: the tool failed, ONNX Runtime does not accept what it made, or a layer
                of the recipe does not exist or is not in float in the result.
            PrecisionError: too little could be quantized for the precision's name.
        """
        from convkit_onnx import exclusion, reading, saturation
        from convkit_onnx.prepare import prepare
        from convkit_onnx.work import Work

        context.progress("loading", None)
        model = reading.load(artifact.path)
        kinds = self._chosen(options, {node.op_type for node in model.graph.node})
        reduce_range, why = saturation.reduced_range(
            str(options["reduce_range"]),
            self.activations(options),
            str(options["weights"]),
            context.cpu_features,
        )
        context.progress("preparing", None)
        prepared = prepare(
            model, context.workdir, self.opset(options), fuse=bool(options["preprocess"])
        )
        recipe = context.recipe.float_layers if context.recipe else ()
        excluded, gone = exclusion.select(prepared.counterparts, recipe)
        exclusion.separate(prepared.model, excluded)
        self.adapt(prepared.model, options)
        prepared.path.write_bytes(prepared.model.SerializeToString(deterministic=True))
        work = Work(
            artifact,
            prepared,
            excluded,
            tuple(sorted(kinds)),
            reduce_range,
            options,
            context,
            context.workdir / "quantized.onnx",
        )
        try:
            notes = self.run(work)
        except (ConversionError, UsageError):
            raise
        except Exception as exc:  # the tool raises any type
            raise ConversionError(
                f"ONNX Runtime's quantizer failed: {reading.first_line(exc)}",
                hint="Keep what the message names in float, or quantize fewer operators with "
                "-O operators=Conv,MatMul,Gemm.",
            ) from exc
        finished, harmless = self._finish(work, output)
        said = [why, *prepared.notes, *notes]
        if gone:
            said.append(f"of the recipe, {_listed(gone)} was folded away before quantizing")
        if harmless:
            said.append(
                f"{_listed(harmless)} multiplies two activations that are integers already: its "
                "result stays in float, the multiplication may run in integers"
            )
        return replace(finished, notes=tuple(said))

    def _chosen(self, options: Mapping[str, OptionValue], present: Iterable[str]) -> frozenset[str]:
        """The types of operators to quantize.

        Raises:
            UsageError: one was named that the model does not have or the tool does not know.
        """
        asked = [name.strip() for name in str(options["operators"]).split(",") if name.strip()]
        if not asked:
            return self.kernels(options)
        known = self.known(options)
        for name in asked:
            if name not in known:
                raise UsageError(
                    f"{self.name} cannot quantize operators of type {name}",
                    hint=did_you_mean(name, known) or f"It knows {', '.join(sorted(known))}.",
                )
        if not set(asked) & set(present):
            raise UsageError(f"the model has no {' and no '.join(asked)}")
        return frozenset(asked)

    def _finish(self, work: Work, output: Path) -> tuple[Artifact, tuple[str, ...]]:
        """Check what the tool wrote, and write it to its place; see `exclusion.prove`."""
        import onnx

        from convkit_onnx import exclusion, runner, writing
        from convkit_onnx.inspector import OnnxInspector
        from convkit_onnx.result import describe

        work.context.progress("checking the result", None)
        runner.load(work.result, work.context.threads)
        seen = OnnxInspector().inspect(work.result, work.artifact.read)
        harmless = exclusion.prove(work.excluded, work.prepared.model, seen.layers)
        if seen.state != self.target:
            raise PrecisionError(
                f"the result is {seen.state} and not {self.target}: too little of it could be "
                "quantized",
                hint="Keep fewer layers in float, or choose another precision.",
            )
        model = onnx.load(str(work.result))
        writing.save(model, output, work.result.parent)
        traits: dict[str, Trait] = {
            "opset": seen.traits["opset"],
            "reduce_range": work.reduce_range,
            "weights": str(work.options["weights"]),
        }
        for name in ("quantized", "activations"):
            if name in seen.traits:
                traits[name] = seen.traits[name]
        return describe(work.artifact, output, model, self.target, **traits), harmless


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
