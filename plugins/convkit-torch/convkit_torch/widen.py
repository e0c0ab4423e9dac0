"""`torch.widen`: a program in half precision written out in float32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convkit.artifact import PARAMETER_BYTES
from convkit.errors import ConversionError
from convkit.plans import OptionValue
from convkit.plugin import (
    Artifact,
    ConverterBase,
    HopContext,
    State,
    TraitProvision,
    TraitRequirement,
)

if TYPE_CHECKING:
    from torch.export import ExportedProgram


class Widen(ConverterBase):
    """For tools that take no half precision, and for bfloat16, which few take. Every number of
    float16 and of bfloat16 is one of float32, so nothing is lost; what operators compute is no
    longer rounded to half, which brings the result nearer to what the model was before. Inputs and
    outputs are float32, too; open axes and module paths stay."""

    name: str = "torch.widen"
    source: State = State("torch", "fp16")
    target: State = State("torch")
    requirements: tuple[str, ...] = ("torch",)
    seconds: float = 1.0
    widens: bool = True
    requires: tuple[TraitRequirement, ...] = (TraitRequirement("container", one_of=("pt2",)),)
    provides: tuple[TraitProvision, ...] = (TraitProvision("container", value="pt2"),)

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, OptionValue],
        context: HopContext,
    ) -> Artifact:
        """Write the program out in float32; see `Converter`.

        Raises:
            ConversionError: the program does not hold together in float32.
        """
        from convkit_torch import reading, saving
        from convkit_torch.signature import program_specs

        context.progress("loading", None)
        program = reading.load_program(artifact.path, artifact.read)
        before = program_specs(program)
        context.progress("widening", None)
        try:
            widen(program)
            program.validate()  # type: ignore[no-untyped-call]
        except Exception as exc:  # torch's verifier raises a type of its own
            raise ConversionError(
                f"the program cannot be written in float32: {reading.first_line(exc)}",
                hint="Cast the model with .float() before torch.export.",
            ) from exc
        after = program_specs(program)
        context.progress("writing", None)
        saving.save(program, output)
        dtypes = [
            {old.name: new.dtype for old, new in zip(*pair, strict=True)}
            for pair in zip(before, after, strict=True)
        ]
        inputs, outputs = (
            tuple(replace(spec, dtype=found[spec.name]) for spec in specs)
            for specs, found in zip((artifact.inputs, artifact.outputs), dtypes, strict=True)
        )
        kept = {k: v for k, v in artifact.traits.items() if k != PARAMETER_BYTES}
        return replace(
            artifact, path=output, state=self.target, inputs=inputs, outputs=outputs, traits=kept
        )


def widen(program: ExportedProgram) -> None:
    """Turn every tensor of half precision into float32, in place, and with them what the graph says
    of types."""
    import torch
    from torch.utils import _pytree as pytree

    def wide(value: Any) -> Any:
        if isinstance(value, torch.dtype):
            return torch.float32 if value in _halves() else value
        if not isinstance(value, torch.Tensor) or value.dtype not in _halves():
            return value
        if isinstance(value, torch.nn.Parameter):
            return torch.nn.Parameter(value.detach().float(), requires_grad=value.requires_grad)
        return value.float()

    for tensors in (program.state_dict, program.constants):
        for name, value in tensors.items():
            tensors[name] = wide(value)
    for module in program.graph_module.modules():
        if not isinstance(module, torch.fx.GraphModule):
            continue
        for node in module.graph.nodes:
            node.args = torch.fx.node.map_aggregate(node.args, wide)
            node.kwargs = torch.fx.node.map_aggregate(node.kwargs, wide)
            if "val" in node.meta:
                node.meta["val"] = pytree.tree_map(wide, node.meta["val"])
            node.meta.pop("tensor_meta", None)
        module.recompile()
    if program.example_inputs is not None:
        program.example_inputs = pytree.tree_map(wide, program.example_inputs)


def _halves() -> tuple[Any, ...]:
    import torch

    return torch.float16, torch.bfloat16
