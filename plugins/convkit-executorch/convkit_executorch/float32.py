"""`executorch.xnnpack`: an exported program to a `.pte` in float32."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from convkit.plans import OptionValue
from convkit.plugin import (
    Artifact,
    ConverterBase,
    HopContext,
    Option,
    State,
    TraitRequirement,
)

if TYPE_CHECKING:
    from convkit.plugin import Inspection

REQUIREMENTS = ("executorch>=1.5,<1.6", "torch>=2.13,<2.15")

LARGEST = Option(
    "largest",
    16,
    "room for an open axis whose largest size the program does not state",
    minimum=1,
)


class TorchToExecutorch(ConverterBase):
    """Delegated to XNNPACK where it can, portable kernels elsewhere; names, order, layout and open
    axes are kept."""

    name: str = "executorch.xnnpack"
    source: State = State("torch")
    target: State = State("executorch")
    requirements: tuple[str, ...] = REQUIREMENTS
    seconds: float = 25.0
    options: tuple[Option, ...] = (LARGEST,)
    requires: tuple[TraitRequirement, ...] = (
        TraitRequirement("container", one_of=("pt2",)),
        TraitRequirement("stateful", one_of=(False,)),
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
            ConversionError: an operator that ExecuTorch lacks, or the result cannot be run.
        """
        from convkit_executorch import lowering

        context.progress("loading", None)
        use_threads(context.threads)
        program = lowering.load(artifact.path)
        context.progress("lowering to XNNPACK", None)
        order = lowering.input_order(artifact, program)
        data = lowering.lower(program, artifact, order, int(options["largest"]))
        context.progress("running it once", None)
        lowering.prove(data, program, context.threads)
        output.write_bytes(data)
        return described(artifact, output, self.target)


def use_threads(threads: int) -> None:
    """Of torch, which traces; 0 leaves them."""
    if threads > 0:
        import torch

        torch.set_num_threads(threads)


def described(artifact: Artifact, output: Path, target: State) -> Artifact:
    """The result, its tensors in the order of the source's.

    Raises:
        ConversionError: the program takes or returns other tensors than described.
    """
    from dataclasses import replace

    from convkit.errors import ConversionError
    from convkit_executorch.inspector import ExecutorchInspector

    seen = ExecutorchInspector().inspect(output, artifact.read)
    inputs = {spec.name: spec for spec in seen.inputs}
    if set(inputs) != {spec.name for spec in artifact.inputs}:
        wanted, made = (
            ", ".join(f"{s.dtype}{list(s.shape)}" for s in (*told.inputs, *told.outputs))
            for told in (artifact, seen)
        )
        raise ConversionError(
            f"the program's tensors became {made} instead of {wanted}",
            hint="Take another format, and report the model: this is a fault of the tool.",
        )
    return replace(
        artifact,
        path=output,
        state=target,
        inputs=tuple(inputs[spec.name] for spec in artifact.inputs),
        outputs=seen.outputs,
        traits=dict(seen.traits),
        notes=(_summary(seen),),
    )


def _summary(seen: Inspection) -> str:
    """How much of the work is delegated, and to which kernels the rest is left."""
    portable = [layer for layer in seen.layers if "::" in layer.op_type]
    if not portable:
        return "all operators are delegated to XNNPACK"
    kinds = ", ".join(dict.fromkeys(layer.op_type.rpartition("::")[2] for layer in portable))
    delegated = len(seen.layers) - len(portable)
    return f"{delegated} of {len(seen.layers)} operators are in XNNPACK; portable kernels: {kinds}"
