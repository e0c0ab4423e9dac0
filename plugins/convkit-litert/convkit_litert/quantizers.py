"""TFLite to smaller TFLite by ai-edge-quantizer: fp16, dynamic int8, static int8."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convkit.errors import CalibrationError, ConversionError, PrecisionError
from convkit.plugin import (
    Artifact,
    ConverterBase,
    HopContext,
    LayerInfo,
    Option,
    State,
    TensorSpec,
)

if TYPE_CHECKING:
    from convkit_litert.model import Model

_REQUIREMENTS = ("ai-edge-quantizer", "ai-edge-litert")
_EVERYTHING = ".*"
_LAST_WORD = ""
"""A pattern that matches every operator like `.*`, yet is a rule of its own: later ones win."""

_PER_CHANNEL = Option("per_channel", True, "one scale per output channel of a weight")


class _Quantizer(ConverterBase):
    """What the three have in common; a subclass says what is to be quantized and how."""

    source: State = State("tflite")
    requirements: tuple[str, ...] = _REQUIREMENTS
    seconds: float = 5.0
    takes_recipe: bool = True

    def _rules(self, manager: Any, options: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def _unsafe(self, layer: LayerInfo) -> bool:
        """Whether the tool would quantize this layer to something that may fail at run time."""
        return False

    def _ranges(
        self,
        prepared: _Prepared,
        recipe: list[dict[str, Any]],
        artifact: Artifact,
        options: Mapping[str, Any],
        context: HopContext,
    ) -> dict[str, Any] | None:
        return None

    def _probe(
        self, prepared: _Prepared, artifact: Artifact, context: HopContext
    ) -> Mapping[str, Any]:
        """A sample for one inference, by input name."""
        from convkit_litert.arrays import zeros

        return {port.name: zeros(port) for port in prepared.model.inputs()}

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, Any],
        context: HopContext,
    ) -> Artifact:
        """See `Converter.convert`.

        Raises:
            ConversionError: the tool fails, a layer of the recipe does not exist or does not
                stay in float, or the runtime cannot execute the result.
            PrecisionError: too little could be quantized for the precision's name.
        """
        context.progress("loading ai-edge-quantizer", None)
        from ai_edge_quantizer import quantizer, recipe_manager

        from convkit_litert import exclusion
        from convkit_litert.inspector import describe
        from convkit_litert.layers import layers
        from convkit_litert.model import parse

        prepared = prepare(artifact)
        names = context.recipe.float_layers if context.recipe else ()
        every = layers(prepared.model)
        excluded = exclusion.select(every, names)
        manager = recipe_manager.RecipeManager()
        self._rules(manager, options)
        spared = (*excluded, *(layer for layer in every if self._unsafe(layer)))
        if spared:
            manager.add_quantization_config(
                exclusion.pattern(spared), "*", algorithm_key="no_quantize"
            )
        self._io_rules(manager, options)
        recipe = manager.get_quantization_recipe()
        found = self._ranges(prepared, recipe, artifact, options, context)
        context.progress("quantizing", None)
        try:
            tool = quantizer.Quantizer(prepared.data, recipe)
            made = tool.quantize(found, enable_progress_bar=False, enable_progress_report=False)
        except Exception as exc:
            raise ConversionError(
                f"ai-edge-quantizer failed: {str(exc).strip().splitlines()[0]}",
                hint="Keep the layers that the message names in float, or use another quantizer.",
            ) from exc
        data = self._finish(made.quantized_model, prepared.model, options)
        result = parse(data)
        inspection = describe(result)
        exclusion.prove(excluded, inspection.layers)
        if inspection.state != self.target:
            raise PrecisionError(
                f"the result is {inspection.state} and not {self.target}: "
                f"{inspection.integer_macs} of {inspection.macs} multiply-accumulates are integer",
                hint="Keep fewer layers in float, or choose another precision.",
            )
        _smoke(output.name, data, result, self._probe(prepared, artifact, context), context.threads)
        output.write_bytes(data)
        return replace(
            artifact,
            path=output,
            state=self.target,
            inputs=specs_in_order(artifact.inputs, inspection.inputs),
            outputs=specs_in_order(artifact.outputs, inspection.outputs),
            traits={
                **artifact.traits,
                **{
                    name: inspection.traits[name]
                    for name in ("dynamic", "quantized_io", "activations")
                    if name in inspection.traits
                },
            },
        )

    def _finish(self, made: bytearray, source: Model, options: Mapping[str, Any]) -> bytes:
        """The tool's file with its outputs checked and without its waste."""
        from convkit_litert import packing
        from convkit_litert.boundary import restore_float_outputs

        raw = packing.unpack(made)
        if options.get("io", "float") == "float":
            restore_float_outputs(raw, source)
        return packing.pack(raw)

    def _io_rules(self, manager: Any, options: Mapping[str, Any]) -> None:
        """Inputs and outputs are operators to this tool: they stay float unless asked for."""
        if options.get("io", "float") == "float":
            for end in ("INPUT", "OUTPUT"):
                manager.add_quantization_config(_LAST_WORD, end, algorithm_key="no_quantize")


class Float16(_Quantizer):
    """Weights in float16, which the runtime widens when it loads them."""

    name: str = "ai-edge-quantizer.fp16"
    target: State = State("tflite", "fp16")
    loss: int = 1

    def _rules(self, manager: Any, options: Mapping[str, Any]) -> None:
        manager.add_weight_only_config(_EVERYTHING, "*", 16, algorithm_key="float_casting")


class DynamicInt8(_Quantizer):
    """Integer weights; the kernels quantize activations while they run."""

    name: str = "ai-edge-quantizer.dynamic"
    target: State = State("tflite", "int8-dynamic")
    loss: int = 2
    options: tuple[Option, ...] = (_PER_CHANNEL,)

    def _rules(self, manager: Any, options: Mapping[str, Any]) -> None:
        manager.add_dynamic_config(_EVERYTHING, "*", 8, granularity=_granularity(options))


class StaticInt8(_Quantizer):
    """Integer weights and activations, with ranges from calibration data.

    Operators that the tool cannot quantize stay in float by themselves.
    """

    name: str = "ai-edge-quantizer.int8"
    target: State = State("tflite", "int8")
    loss: int = 3
    seconds: float = 10.0
    needs_calibration: bool = True
    options: tuple[Option, ...] = (
        _PER_CHANNEL,
        Option(
            "activations",
            "int8",
            "int16 (with weights of 8 bits, called 16x8) lies between int8 and float in accuracy, "
            "and is slower than int8",
            choices=("int8", "int16"),
        ),
        Option("io", "float", "type of inputs and outputs", choices=("float", "integer")),
        Option(
            "ranges",
            "min-max",
            "extremes over all samples, or a moving average of each sample's extremes",
            choices=("min-max", "moving-average"),
            repairs=("moving-average",),
        ),
    )

    def _rules(self, manager: Any, options: Mapping[str, Any]) -> None:
        granularity, bits = _granularity(options), _bits(options)
        manager.add_static_config(_EVERYTHING, "*", bits, 8, weight_granularity=granularity)
        # There is no static kernel for a lookup, but its table is often most of the file.
        manager.add_dynamic_config(_EVERYTHING, "EMBEDDING_LOOKUP", 8, granularity=granularity)

    def _unsafe(self, layer: LayerInfo) -> bool:
        """A divisor that rounds to zero stops the integer kernel: such models work on one input
        and fail on the next. A constant divisor is known beforehand."""
        return layer.op_type == "DIV" and len(layer.inputs) > 1

    def _ranges(
        self,
        prepared: _Prepared,
        recipe: list[dict[str, Any]],
        artifact: Artifact,
        options: Mapping[str, Any],
        context: HopContext,
    ) -> dict[str, Any] | None:
        from convkit_litert import calibrate

        data = context.calibration
        if data is None:
            raise CalibrationError("static int8 needs calibration data")
        return calibrate.ranges(
            prepared.data,
            prepared.signature,
            recipe,
            calibrate.samples(data, artifact, prepared.model),
            smallest_to_largest=options.get("ranges", "min-max") == "min-max",
            threads=context.threads,
            progress=lambda done: context.progress("calibrating", done / data.count),
        )

    def _probe(
        self, prepared: _Prepared, artifact: Artifact, context: HopContext
    ) -> Mapping[str, Any]:
        """The first calibration sample."""
        from convkit_litert import calibrate

        assert context.calibration is not None
        return next(calibrate.samples(context.calibration, artifact, prepared.model))


def _granularity(options: Mapping[str, Any]) -> Any:
    from ai_edge_quantizer import qtyping

    kinds = qtyping.QuantGranularity
    return kinds.CHANNELWISE if options.get("per_channel", True) else kinds.TENSORWISE


def _bits(options: Mapping[str, Any]) -> int:
    return 16 if options.get("activations", "int8") == "int16" else 8


@dataclass(frozen=True)
class _Prepared:
    """A float file that the tool takes: unique tensor names, and a signature."""

    data: bytes
    model: Model
    signature: str


def prepare(artifact: Artifact) -> _Prepared:
    """Read the float file; one without a signature, or with repeated names, is given them.

    Raises:
        InputError: the file is damaged.
    """
    from convkit_litert import packing
    from convkit_litert.model import load, parse, unique_name

    model = load(artifact.path)
    data = artifact.path.read_bytes()
    everything = [t.name for graph in model.subgraphs for t in graph.tensors]
    raw = packing.unpack(data)
    stored = [(t.name or b"").decode() for graph in raw.subgraphs for t in graph.tensors]
    signature = model.signature
    if signature is not None and stored == everything and len(set(stored)) == len(stored):
        return _Prepared(data, model, signature.key)
    taken: set[str] = set()
    wanted = iter(everything)
    for graph in raw.subgraphs:
        for tensor in graph.tensors:
            tensor.name = unique_name(next(wanted), taken).encode()
    if signature is None:
        raw.signatureDefs = [*(raw.signatureDefs or ()), _signature(model)]
    data = packing.pack(raw)
    named = parse(data, artifact.path.name)
    assert named.signature is not None
    return _Prepared(data, named, named.signature.key)


def _signature(model: Model) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    made = schema.SignatureDefT()
    made.signatureKey = b"serving_default"
    made.subgraphIndex = 0
    for name, ports in (("inputs", model.inputs()), ("outputs", model.outputs())):
        entries = []
        for port in ports:
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = port.name.encode(), port.index
            entries.append(entry)
        setattr(made, name, entries)
    return made


def _smoke(name: str, data: bytes, model: Model, sample: Mapping[str, Any], threads: int) -> None:
    """One inference: a kernel that refuses its operands says so here, not at the user's."""
    from convkit_litert.runner import LiteRtSession, interpreter

    blank = Artifact(Path(name), State("tflite"))
    session = LiteRtSession(blank, model, interpreter(name, threads, model_content=data))
    session.run([sample[port.name] for port in model.inputs()])


def specs_in_order(
    source: tuple[TensorSpec, ...], found: tuple[TensorSpec, ...]
) -> tuple[TensorSpec, ...]:
    """The file's specs in the source's order; quantizing keeps names and order."""
    by_name = {spec.name: spec for spec in found}
    if not source or len(source) != len(found):
        return found
    known = all(spec.name in by_name for spec in source)
    ordered = [by_name[spec.name] for spec in source] if known else list(found)
    return tuple(replace(new, layout=old.layout) for old, new in zip(source, ordered, strict=True))
