"""`torch.export-program`: a state dict or a pickled module becomes a torch.export archive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from convkit.plans import OptionValue
from convkit.plugin import (
    Artifact,
    ConverterBase,
    HopContext,
    State,
    TraitProvision,
    TraitRequirement,
)


class ExportProgram(ConverterBase):
    """A preparation: gives the model a graph, so that exporters need no Python code of its own."""

    name: str = "torch.export-program"
    source: State = State("torch")
    target: State = State("torch")
    requirements: tuple[str, ...] = ("torch",)
    seconds: float = 6.0
    requires: tuple[TraitRequirement, ...] = (
        TraitRequirement("container", one_of=("state-dict", "module")),
    )
    provides: tuple[TraitProvision, ...] = (TraitProvision("container", value="pt2"),)

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, OptionValue],
        context: HopContext,
    ) -> Artifact:
        """Build, load the weights, export, and save without source paths; see `Converter`."""
        from convkit_torch import reading, saving
        from convkit_torch.signature import is_dynamic, program_specs

        context.progress("loading", None)
        model = reading.load_eager(artifact.path, artifact.read)
        context.progress("exporting", None)
        program = reading.export(model.module, model.examples, artifact.read.dynamic)
        context.progress("saving", None)
        saving.save(program, output)
        inputs, outputs = program_specs(program)
        return replace(
            artifact,
            path=output,
            state=self.target,
            inputs=inputs,
            outputs=outputs,
            traits={"container": "pt2", "dynamic": is_dynamic((*inputs, *outputs))},
        )
