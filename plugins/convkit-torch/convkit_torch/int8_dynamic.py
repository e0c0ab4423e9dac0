"""`torch.int8-dynamic`: Linear, LSTM and GRU with integer weights, as a TorchScript file."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from convkit.errors import ConversionError, PrecisionError, did_you_mean
from convkit.plans import OptionValue
from convkit.plugin import (
    Artifact,
    ConverterBase,
    HopContext,
    LayerInfo,
    Obstacle,
    Option,
    State,
    TraitProvision,
    TraitRequirement,
)

_DOT_PRODUCTS = frozenset({"avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8"})
_REMEDY = "Static int8 knows convolutions: --to onnx-int8, --to openvino-int8 or --to tflite-int8."


class Int8Dynamic(ConverterBase):
    """Weights become integers, activations are quantized while the model runs.

    By torch's own kernels (`quantized::linear_dynamic`, `quantized_lstm`, `quantized_gru`), put in
    place of the float operators of an exported program, which is then recorded: torch.export has
    no form for packed weights.
    """

    name: str = "torch.int8-dynamic"
    source: State = State("torch")
    target: State = State("torch", "int8-dynamic")
    requirements: tuple[str, ...] = ("torch",)
    loss: int = 2
    seconds: float = 6.0
    takes_recipe: bool = True
    options: tuple[Option, ...] = (
        Option("per_channel", True, "one scale per output channel of a weight"),
        Option(
            "reduce_range",
            "auto",
            "activations in 7 of 8 bits: auto does so where sums of products would clip (x86 "
            "without VNNI)",
            choices=("auto", "on", "off"),
        ),
        Option("mobile", False, "add the bytecode that torch's lite interpreter runs"),
    )
    requires: tuple[TraitRequirement, ...] = (
        TraitRequirement("container", one_of=("pt2",)),
        TraitRequirement("stateful", one_of=(False,)),
    )
    provides: tuple[TraitProvision, ...] = (TraitProvision("container", value="torchscript"),)

    def check(self, artifact: Artifact, options: Mapping[str, OptionValue]) -> Sequence[Obstacle]:
        """Operators without an integer kernel that do half of the work or more."""
        from convkit_torch import container, reading
        from convkit_torch.flat import flatten
        from convkit_torch.layers import program_layers
        from convkit_torch.packing import quantizable

        if reading.container_of(artifact.path) != container.PT2:
            return ()  # has no graph yet
        program = reading.load_program(artifact.path, artifact.read)
        possible = quantizable(flatten(program))
        found = program_layers(program)
        rest = [layer for layer in found if layer.macs and layer.name not in possible]
        whole = sum(layer.macs for layer in found)
        if whole and 2 * sum(layer.macs for layer in rest) < whole:
            return ()
        what = "/".join(dict.fromkeys(layer.op_type for layer in rest)) or "nothing here"
        return (
            Obstacle(
                f"{what}, which does most of the arithmetic and has no dynamic int8 kernel,",
                tuple(layer.name for layer in rest),
                _REMEDY,
            ),
        )

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, OptionValue],
        context: HopContext,
    ) -> Artifact:
        """See `Converter`.

        Raises:
            ConversionError: control flow or state, a layer of the recipe that does not exist, or
                the recording does not take every size that the program takes.
            PrecisionError: too little could be quantized for the precision's name.
        """
        from convkit_torch import reading, recording, script_file, state
        from convkit_torch.flat import flatten
        from convkit_torch.layers import program_layers
        from convkit_torch.packing import Packing, quantize
        from convkit_torch.traceable import refuse_control_flow

        context.progress("loading", None)
        program = reading.load_program(artifact.path, artifact.read)
        refuse_control_flow(program, "Dynamic int8 by ONNX Runtime keeps it: onnx-int8-dynamic.")
        state.refuse_state(program)
        layers = program_layers(program)
        spared = _spared(layers, context.recipe.float_layers if context.recipe else ())
        reduce_range, why = _reduced_range(str(options["reduce_range"]), context.cpu_features)
        context.progress("quantizing", None)
        module = flatten(program)
        done = quantize(module, Packing(bool(options["per_channel"]), reduce_range), spared)
        if not done:
            raise PrecisionError(
                "the model has no Linear, LSTM or GRU layer with constant weights to quantize",
                hint=_REMEDY,
            )
        context.progress("recording", None)
        about = recording.description(program)
        recorded = recording.record(module, program)
        context.progress("writing", None)
        script_file.save(recorded, output, about, context.workdir, mobile=bool(options["mobile"]))
        self._prove(output, artifact, done)
        return replace(
            artifact,
            path=output,
            state=self.target,
            traits={**artifact.traits, "container": "torchscript", "reduce_range": reduce_range},
            notes=(why, f"{len(done)} layers compute in integers"),
        )

    def _prove(self, output: Path, artifact: Artifact, done: Sequence[str]) -> None:
        """Read the file back.

        Raises:
            ConversionError: it holds more or fewer integer layers than were made.
            PrecisionError: most of the arithmetic is still in float.
        """
        from convkit_torch.inspector import TorchInspector
        from convkit_torch.script_layers import DYNAMIC

        seen = TorchInspector().inspect(output, artifact.read)
        integer = [layer for layer in seen.layers if layer.compute == DYNAMIC]
        if len(integer) != len(done):
            raise ConversionError(
                f"{len(done)} layers were quantized, and {len(integer)} are in the file"
            )
        if seen.state != self.target:
            raise PrecisionError(
                f"the result is {seen.state} and not {self.target}: {seen.integer_macs} of "
                f"{seen.macs} multiply-accumulates are in integers",
                hint="Keep fewer layers in float, or choose another precision.",
            )


def _spared(layers: Sequence[LayerInfo], wanted: Sequence[str]) -> frozenset[str]:
    """Raises:
    ConversionError: a name that no layer bears, with near misses.
    """
    known = {layer.name for layer in layers}
    for name in wanted:
        if name not in known:
            raise ConversionError(
                f"there is no layer called {name!r} in the program",
                hint=f"{did_you_mean(name, known)} `convkit inspect --json` lists them.".lstrip(),
            )
    return frozenset(wanted)


def _reduced_range(choice: str, cpu_features: Collection[str]) -> tuple[bool, str]:
    """Whether activations leave one bit unused, and why.

    The kernels for x86 without VNNI add two products in 16 bits, which clip where both operands
    use all of their range.
    """
    import platform

    if choice != "auto":
        return choice == "on", f"reduce_range is {choice}, as asked for"
    on_x86 = platform.machine().lower() in ("x86_64", "amd64")
    if on_x86 and not _DOT_PRODUCTS & frozenset(cpu_features):
        return True, "activations use 7 of 8 bits (reduce_range): sums of products clip here"
    return False, (
        "activations use all 8 bits (reduce_range off): sums of products cannot clip on this "
        "processor; on x86 without VNNI they may"
    )
