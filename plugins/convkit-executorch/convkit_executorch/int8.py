"""`executorch.xnnpack-int8`: static int8 by ExecuTorch's own quantizer for XNNPACK."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convkit.errors import (
    CalibrationError,
    ConversionError,
    ConvkitError,
    PrecisionError,
    did_you_mean,
)
from convkit.plans import OptionValue
from convkit.plugin import (
    Artifact,
    CalibrationData,
    ConverterBase,
    HopContext,
    Obstacle,
    Option,
    State,
    TraitRequirement,
    sample_key,
)
from convkit_executorch.float32 import LARGEST, REQUIREMENTS

if TYPE_CHECKING:
    from torch.export import ExportedProgram

_BRANCHES = Obstacle(
    "control flow",
    remedy="The float file keeps it (--to executorch), as does --to onnx-int8-dynamic.",
)


class TorchToExecutorchInt8(ConverterBase):
    """Quantized as an exported program by torchao, with the operators, ranges and granularity that
    `XNNPACKQuantizer` prescribes, then lowered. A recipe names layers of the torch program."""

    name: str = "executorch.xnnpack-int8"
    source: State = State("torch")
    target: State = State("executorch", "int8")
    requirements: tuple[str, ...] = (*REQUIREMENTS, "torchao>=0.18,<0.19")
    loss: int = 3
    seconds: float = 50.0
    needs_calibration: bool = True
    takes_recipe: bool = True
    options: tuple[Option, ...] = (
        Option("per_channel", True, "one scale per output channel of a weight"),
        LARGEST,
    )
    requires: tuple[TraitRequirement, ...] = (
        TraitRequirement("container", one_of=("pt2",)),
        TraitRequirement("stateful", one_of=(False,)),
    )

    def check(self, artifact: Artifact, options: Mapping[str, OptionValue]) -> Sequence[Obstacle]:
        """Control flow, whose branches the quantizer does not look into."""
        from convkit_executorch import lowering

        if artifact.traits.get("container", "pt2") != "pt2":
            return ()  # has no graph yet
        return (_BRANCHES,) if lowering.has_control_flow(lowering.load(artifact.path)) else ()

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, OptionValue],
        context: HopContext,
    ) -> Artifact:
        """See `Converter`.

        Raises:
            CalibrationError: no samples, or samples that do not fit.
            ConversionError: an operator that ExecuTorch lacks, control flow, or a layer of the
                recipe that does not exist.
            PrecisionError: too little could be quantized for the precision's name.
        """
        from convkit_executorch import lowering
        from convkit_executorch.float32 import described, use_threads

        if context.calibration is None:
            raise CalibrationError("static int8 needs calibration data")
        context.progress("loading", None)
        use_threads(context.threads)
        program = lowering.load(artifact.path)
        if lowering.has_control_flow(program):
            raise ConversionError("the model has control flow", hint=_BRANCHES.remedy)
        wanted = context.recipe.float_layers if context.recipe else ()
        spared = _spared(program, wanted)
        order = lowering.input_order(artifact, program)
        quantized = _quantized(program, spared, order, bool(options["per_channel"]), context)
        context.progress("lowering to XNNPACK", None)
        data = lowering.lower(quantized, artifact, order, int(options["largest"]))
        context.progress("running it once", None)
        lowering.prove(data, quantized, context.threads)
        output.write_bytes(data)
        _refuse_float(output, artifact, self.target)
        result = described(artifact, output, self.target)
        fused = len(set(wanted)) - len(spared)
        if not fused:
            return result
        note = f"{fused} layers to be kept in float are fused into the one before, in integers"
        return replace(result, notes=(*result.notes, note))


def _refuse_float(output: Path, artifact: Artifact, target: State) -> None:
    """Raises:
    PrecisionError: most of the arithmetic is still in float.
    """
    from convkit_executorch.inspector import ExecutorchInspector

    seen = ExecutorchInspector().inspect(output, artifact.read)
    if seen.state != target:
        raise PrecisionError(
            f"the result is {seen.state} and not {target}: {seen.integer_macs} of {seen.macs} "
            "multiply-accumulates are in integers",
            hint="XNNPACK has integer kernels for convolutions and Linear. Keep fewer layers in "
            "float, or choose another target; LSTM and GRU: --to torch-int8-dynamic.",
        )


def _spared(program: ExportedProgram, wanted: Sequence[str]) -> frozenset[str]:
    """Names of the nodes that stay in float.

    What is fused into a convolution or a Linear in integers (BatchNorm, ReLU) is part of it and
    adds no error of its own, so that it cannot stay in float alone.

    Raises:
        ConversionError: a name that no layer bears, with near misses.
    """
    nodes = {node.name: node for node in program.graph.nodes if node.op == "call_function"}
    for name in wanted:
        if name not in nodes:
            raise ConversionError(
                f"there is no layer called {name!r} in the program",
                hint=f"{did_you_mean(name, nodes)} `convkit inspect --json` lists them.".lstrip(),
            )
    first = {name: name for name in nodes}
    for name, node in nodes.items():  # in the order of execution
        source = nodes.get(str(node.args[0])) if node.args else None
        if source is None or len(source.users) > 1:
            continue
        if _kind(source).startswith(_FUSING.get(_kind(node), ())):
            first[name] = first[source.name]
    return frozenset(name for name in wanted if first[name] in wanted)


_MULTIPLYING = ("conv", "linear")
_FUSING: Mapping[str, tuple[str, ...]] = {
    "batch_norm": ("conv",),
    "relu": (*_MULTIPLYING, "batch_norm"),
    "relu_": (*_MULTIPLYING, "batch_norm"),
}
"""Operators that become part of the one before, and how those begin."""


def _kind(node: Any) -> str:
    """`conv2d` for a call of `aten.conv2d.default`."""
    return str(node.target).partition(".")[2].partition(".")[0]


def _quantized(
    program: ExportedProgram,
    spared: frozenset[str],
    order: Sequence[int],
    per_channel: bool,
    context: HopContext,
) -> ExportedProgram:
    """The program with quantizers around what XNNPACK computes in integers.

    Raises:
        CalibrationError: samples that do not fit.
        ConversionError: torchao cannot quantize it.
    """
    import torch
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    from convkit_executorch.flattened import call, export
    from convkit_executorch.quantizer import quantizer

    assert context.calibration is not None
    try:
        with torch.no_grad():
            prepared = prepare_pt2e(program.module(), quantizer(spared, per_channel))
            for number, sample in enumerate(_samples(context.calibration, order), 1):
                call(prepared, program, sample)
                context.progress("calibrating", number / context.calibration.count)
            context.progress("quantizing", None)
            return export(convert_pt2e(prepared), program)
    except ConvkitError:
        raise
    except Exception as exc:  # any type, from torch and torchao
        from convkit_executorch.lowering import first_line

        raise ConversionError(f"torchao cannot quantize this program: {first_line(exc)}") from exc


def _samples(calibration: CalibrationData, order: Sequence[int]) -> Iterator[list[Any]]:
    """Tensors in the program's order, one sample in memory at a time.

    Raises:
        CalibrationError: a sample is missing, or there is none.
    """
    from safetensors import safe_open

    if not calibration.count:
        raise CalibrationError("the calibration data hold no sample")
    try:
        with safe_open(str(calibration.path), framework="pt") as file:
            for number in range(calibration.count):
                yield [file.get_tensor(sample_key(number, place)) for place in order]
    except (OSError, ValueError, RuntimeError) as exc:
        raise CalibrationError(f"the calibration data cannot be read: {exc}") from exc
