"""`onnxruntime.int8-dynamic`: weights in integers, activations quantized while the model runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from convkit.plans import OptionValue
from convkit.plugin import LayerInfo, Option, State
from convkit_onnx.quantizer import (
    OPERATORS,
    PER_CHANNEL,
    PREPROCESS,
    REDUCE_RANGE,
    WEIGHTS,
    Quantizer,
)

if TYPE_CHECKING:
    from convkit_onnx.work import Work

_OLDEST_OPSET = 11
_LAID_OUT = "layout"


class DynamicInt8(Quantizer):
    """By `onnxruntime.quantization.quantize_dynamic`: multiplications by constant weights, LSTMs,
    and the tables of embeddings. Convolutions get smaller by it, and slower."""

    name: str = "onnxruntime.int8-dynamic"
    target: State = State("onnx", "int8-dynamic")
    loss: int = 2
    seconds: float = 5.0
    options: tuple[Option, ...] = (WEIGHTS, PER_CHANNEL, REDUCE_RANGE, OPERATORS, PREPROCESS)

    def kernels(self, options: Mapping[str, OptionValue]) -> frozenset[str]:
        """All that the tool knows."""
        return self.known(options)

    def known(self, options: Mapping[str, OptionValue]) -> frozenset[str]:
        """The tool's own registry. It takes Gemm apart beforehand."""
        from onnxruntime.quantization.registry import IntegerOpsRegistry

        return frozenset({*IntegerOpsRegistry, "Gemm"})

    def quantizes(self, layer: LayerInfo, kinds: Collection[str]) -> bool:
        """Only what has constant weights."""
        return layer.op_type in kinds and layer.parameter_count > 0

    def opset(self, options: Mapping[str, OptionValue]) -> int:
        """The first with quantization at run time."""
        return _OLDEST_OPSET

    def activations(self, options: Mapping[str, OptionValue]) -> str:
        """The only one there is."""
        return "QUInt8"

    def run(self, work: Work) -> Sequence[str]:
        """See `Quantizer.run`."""
        import onnxruntime.quantization as tool

        from convkit_onnx.exclusion import REWRITTEN

        work.context.progress("quantizing", None)
        # The tool drops this attribute, and with it the meaning of the axes.
        turned = [
            node.name
            for node in work.prepared.model.graph.node
            if node.op_type == "LSTM" and any(a.name == _LAID_OUT and a.i for a in node.attribute)
        ]
        kinds = {*work.op_types} | ({"MatMul"} if "Gemm" in work.op_types else set())
        spared = [*work.excluded, *turned, *_spared(work, kinds)]
        tool.quantize_dynamic(
            str(work.prepared.path),
            str(work.result),
            op_types_to_quantize=sorted(kinds),
            per_channel=bool(work.options["per_channel"]),
            reduce_range=work.reduce_range,
            weight_type=getattr(tool.QuantType, str(work.options["weights"])),
            nodes_to_exclude=[name + end for name in spared for end in REWRITTEN],
        )
        return _notes(work, turned)


def _spared(work: Work, kinds: Collection[str]) -> list[str]:
    """MatMuls of the model where only Gemm was to be quantized, and the other way round: the tool
    turns one into the other before it looks at types."""
    return [
        node.name
        for node in work.prepared.model.graph.node
        if node.op_type in {*kinds, "Gemm"} and node.op_type not in work.op_types
    ]


def _notes(work: Work, turned: Sequence[str]) -> list[str]:
    notes = []
    if turned:
        notes.append(f"{', '.join(turned)} stays in float: its layout is batch first")
    nodes = work.prepared.model.graph.node
    convolutions = sum(n.op_type == "Conv" and n.name not in work.excluded for n in nodes)
    if convolutions and "Conv" in work.op_types:
        notes.append(
            f"{convolutions} convolutions are quantized at run time, which makes them smaller and "
            "slower than in float; -O operators=MatMul,Gemm,LSTM leaves them out"
        )
    return notes
