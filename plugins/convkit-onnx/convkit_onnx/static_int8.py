"""`onnxruntime.int8`: weights and activations in integers, with ranges from calibration data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from convkit.errors import CalibrationError, UsageError
from convkit.plans import OptionValue
from convkit.plugin import LayerInfo, Option, State, TraitProvision
from convkit_onnx import integers, repair
from convkit_onnx.quantizer import (
    OPERATORS,
    PER_CHANNEL,
    PREPROCESS,
    REDUCE_RANGE,
    WEIGHTS,
    Quantizer,
)

if TYPE_CHECKING:
    import onnx

    from convkit_onnx.work import Work

_METHODS = ("MinMax", "MeanMinMax", "Entropy", "Percentile")

_OLDEST_OPSET = 13
"""Before it, DequantizeLinear knows no axis, and so no scale per channel."""

_WIDE_OPSET = 21
"""From it on, the standard's conversions know 16 bits."""

_VANISHING = frozenset({"Relu", "Clip"})
"""The quantizer lets the range of what is before them do their work."""


class StaticInt8(Quantizer):
    """By `onnxruntime.quantization.quantize_static`.

    Unsigned activations and signed weights per channel by default: with signed activations
    ONNX Runtime is slower than in float on x86. Operators that it computes in float whatever
    stands around them are left alone: they would lose accuracy for nothing.
    """

    name: str = "onnxruntime.int8"
    target: State = State("onnx", "int8")
    loss: int = 3
    seconds: float = 10.0
    needs_calibration: bool = True
    options: tuple[Option, ...] = (
        Option(
            "format",
            "qdq",
            "QDQ: float operators between conversions, fused at load; QOperator: integer operators",
            choices=("qdq", "qoperator"),
        ),
        Option(
            "method",
            "MinMax",
            "how a range is made of the values seen; MeanMinMax takes the mean of each sample's "
            "extremes",
            choices=_METHODS,
            repairs=("Percentile",),
        ),
        Option(
            "percentile",
            99.999,
            "of method=Percentile: the share of values inside the range",
            minimum=50,
            maximum=100,
        ),
        Option(
            "activations",
            "QUInt8",
            "type of activations; 16 bits lie between int8 and float, and are no faster than float",
            choices=("QUInt8", "QInt8", "QUInt16", "QInt16"),
        ),
        WEIGHTS,
        PER_CHANNEL,
        Option("symmetric", False, "activations' ranges have zero in the middle"),
        REDUCE_RANGE,
        *repair.OPTIONS,
        OPERATORS,
        PREPROCESS,
    )
    provides: tuple[TraitProvision, ...] = (TraitProvision("quantized", option="format"),)

    def kernels(self, options: Mapping[str, OptionValue]) -> frozenset[str]:
        """Those that ONNX Runtime computes in integers."""
        fused = integers.HEAVY | integers.LIGHT | _VANISHING
        return self.known(options) & fused if options["format"] == "qdq" else self.known(options)

    def known(self, options: Mapping[str, OptionValue]) -> frozenset[str]:
        """The tool's own registries."""
        from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

        if options["format"] == "qdq":
            return frozenset({*QDQRegistry, *QLinearOpsRegistry})
        return frozenset(QLinearOpsRegistry)

    def opset(self, options: Mapping[str, OptionValue]) -> int:
        """16 bits need a newer one."""
        return _WIDE_OPSET if "16" in str(options["activations"]) else _OLDEST_OPSET

    def activations(self, options: Mapping[str, OptionValue]) -> str:
        """As asked for."""
        return str(options["activations"])

    def remedy(self, layers: Sequence[LayerInfo]) -> str:
        """Dynamic int8 knows LSTMs."""
        if any(layer.op_type == "LSTM" for layer in layers):
            return "ONNX Runtime quantizes LSTM at run time only: --to onnx-int8-dynamic."
        return super().remedy(layers)

    def adapt(self, model: onnx.ModelProto, options: Mapping[str, OptionValue]) -> None:
        """Of integer operators, the tool copies Where as it is, and leaves it without the float
        inputs that it reads. An Identity brings them back, and is gone when the model is loaded."""
        if options["format"] == "qdq":
            return
        import onnx

        nodes = list(model.graph.node)
        weights = {tensor.name for tensor in model.graph.initializer}
        del model.graph.node[:]
        for node in nodes:
            for index, name in enumerate(node.input):
                if node.op_type == "Where" and index and name not in weights:
                    kept = f"{node.name}/{index}"
                    model.graph.node.append(
                        onnx.helper.make_node("Identity", [name], [kept], name=kept)
                    )
                    node.input[index] = kept
            model.graph.node.append(node)

    def run(self, work: Work) -> Sequence[str]:
        """See `Quantizer.run`."""
        import onnxruntime.quantization as tool
        from onnxruntime.quantization.calibrate import save_tensors_data

        from convkit_onnx import ranges

        options, context = work.options, work.context
        _consistent(options)
        if context.calibration is None:
            raise CalibrationError("static int8 needs calibration data")
        said = repair.equalized(work)
        symmetric = bool(options["symmetric"])
        method = ranges.Method(str(options["method"]), float(options["percentile"]), symmetric)
        found, masks = ranges.collect(
            work.prepared.path,
            context.calibration,
            work.artifact,
            work.op_types,
            method,
            context.threads,
            context.progress,
        )
        masked = [
            node.name
            for node in work.prepared.model.graph.node
            if not masks.isdisjoint((*node.input, *node.output))
        ]
        context.progress("quantizing", None)
        known = context.workdir / "ranges.json"
        save_tensors_data(found, known)

        def quantize() -> None:
            tool.quantize_static(
                str(work.prepared.path),
                str(work.result),
                quant_format=tool.QuantFormat.QDQ
                if options["format"] == "qdq"
                else tool.QuantFormat.QOperator,
                op_types_to_quantize=list(work.op_types),
                per_channel=bool(options["per_channel"]),
                reduce_range=work.reduce_range,
                activation_type=getattr(tool.QuantType, str(options["activations"])),
                weight_type=getattr(tool.QuantType, str(options["weights"])),
                nodes_to_exclude=[*work.excluded, *masked],
                calibrate_method=getattr(tool.CalibrationMethod, method.tool),
                extra_options={"ActivationSymmetric": symmetric},
                calibration_cache_path=known,
            )

        quantize()
        said += repair.corrected(work, quantize)
        return [*said, *_notes(options, masked)]


def _consistent(options: Mapping[str, OptionValue]) -> None:
    """Raises:
    UsageError: a combination that the tool does not have.
    """
    activations, weights = str(options["activations"]), str(options["weights"])
    if "16" in activations and options["format"] != "qdq":
        raise UsageError(
            f"activations={activations} needs format=QDQ",
            hint="There are no integer operators of 16 bits.",
        )
    if options["bias_correction"] and options["format"] != "qdq":
        raise UsageError(
            "bias_correction needs format=QDQ",
            hint="Integer operators do not keep the layers that would be compared.",
        )
    if activations == "QInt8" and weights == "QUInt8":
        raise UsageError(
            "ONNX Runtime has no kernels for signed activations with unsigned weights",
            hint="Use activations=QUInt8, or weights=QInt8.",
        )


def _notes(options: Mapping[str, OptionValue], masked: Sequence[str]) -> list[str]:
    notes = []
    if options["activations"] == "QInt8" and options["format"] == "qdq":
        notes.append(
            "signed activations: on x86, ONNX Runtime computes most of them in float, slower "
            "than the float model; QUInt8 does better there"
        )
    if "16" in str(options["activations"]):
        notes.append(
            "16-bit activations: on a CPU, ONNX Runtime computes them in float; the result is "
            "more exact than int8, and not faster than float"
        )
    if masked:
        notes.append(
            f"{len(masked)} operators stay in float because a mask of (almost) infinite values "
            f"passes through them: {', '.join(masked[:3])}"
        )
    return notes
