"""`torch.onnx-dynamo`: torch.export programs to ONNX by the exporter that reads their graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from convkit.errors import ConversionError
from convkit.plans import OptionValue
from convkit.plugin import (
    Artifact,
    ConverterBase,
    HopContext,
    Option,
    State,
    TraitProvision,
    TraitRequirement,
)


class OnnxDynamo(ConverterBase):
    """The exporter with the widest reach; below opset 18 it cannot write, so it is not asked to."""

    name: str = "torch.onnx-dynamo"
    source: State = State("torch")
    target: State = State("onnx")
    requirements: tuple[str, ...] = ("torch", "onnx", "onnxscript")
    seconds: float = 8.0
    options: tuple[Option, ...] = (
        Option("opset", 20, "ONNX operator set to write", minimum=18, maximum=25),
    )
    requires: tuple[TraitRequirement, ...] = (
        TraitRequirement("container", one_of=("pt2",)),
        TraitRequirement("stateful", one_of=(False,)),
    )
    provides: tuple[TraitProvision, ...] = (
        TraitProvision("opset", option="opset"),
        TraitProvision("exporter", value="dynamo"),
        TraitProvision("simplified", value=False),
    )

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, OptionValue],
        context: HopContext,
    ) -> Artifact:
        """Export with the program's own input and output names; see `Converter`."""
        import onnx
        import torch

        from convkit_torch import onnx_file, reading, saving, state

        opset = int(options["opset"])
        context.progress("loading", None)
        program = saving.strip(reading.load_program(artifact.path, artifact.read))
        state.refuse_state(program)
        context.progress("exporting", None)
        draft = context.workdir / "draft.onnx"
        try:
            exported = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=opset,
                input_names=onnx_file.names_for(artifact.inputs),
                output_names=onnx_file.names_for(artifact.outputs),
                verbose=False,
            )
            if exported is None:
                raise RuntimeError("the exporter returned nothing")
            exported.save(str(draft), external_data=True)
        except Exception as exc:  # the exporter wraps failures in types of its own
            raise ConversionError(
                f"torch.onnx.export (dynamo) failed: {reading.first_line(exc)}",
                hint="The other exporter may do it: --avoid torch.onnx-dynamo.",
            ) from exc
        context.progress("writing", None)
        result = onnx_file.write(onnx.load(str(draft)), output, artifact, opset, "dynamo")
        return replace(result, state=self.target)
