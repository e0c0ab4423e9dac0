"""`torch.onnx-legacy`: the tracing exporter, which writes exactly the opset it is asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convkit.errors import ConversionError, ConvkitError
from convkit.plans import OptionValue
from convkit.plugin import (
    Artifact,
    ConverterBase,
    HopContext,
    Option,
    State,
    TensorSpec,
    TraitProvision,
    TraitRequirement,
)

if TYPE_CHECKING:
    import torch


class OnnxLegacy(ConverterBase):
    """For consumers that stopped at an old opset. torch has deprecated it."""

    name: str = "torch.onnx-legacy"
    source: State = State("torch")
    target: State = State("onnx")
    requirements: tuple[str, ...] = ("torch", "onnx")
    seconds: float = 9.0  # quicker than dynamo, but deprecated: second where both would do
    options: tuple[Option, ...] = (
        Option("opset", 17, "ONNX operator set to write", minimum=11, maximum=20),
    )
    requires: tuple[TraitRequirement, ...] = (
        TraitRequirement("container", one_of=("pt2", "torchscript")),
        TraitRequirement("stateful", one_of=(False,)),
    )
    provides: tuple[TraitProvision, ...] = (
        TraitProvision("opset", option="opset"),
        TraitProvision("exporter", value="legacy"),
        TraitProvision("simplified", value=False),
    )

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, OptionValue],
        context: HopContext,
    ) -> Artifact:
        """Trace and write; see `Converter`."""
        import onnx
        import torch

        from convkit_torch import onnx_file, reading

        opset = int(options["opset"])
        context.progress("loading", None)
        draft = context.workdir / "draft.onnx"
        try:
            module, examples = _module_and_examples(artifact, opset)
            context.progress("exporting", None)
            with torch.no_grad():
                torch.onnx.export(
                    module,
                    examples,
                    str(draft),
                    dynamo=False,
                    opset_version=opset,
                    input_names=onnx_file.names_for(artifact.inputs),
                    output_names=onnx_file.names_for(artifact.outputs),
                    dynamic_axes=_dynamic_axes((*artifact.inputs, *artifact.outputs)) or None,
                    verbose=False,
                )
        except ConvkitError:
            raise
        except Exception as exc:  # RuntimeError, OnnxExporterError, ValueError, ...
            raise ConversionError(
                f"torch.onnx.export (legacy, opset {opset}) failed: {reading.first_line(exc)}",
                hint=_hint(exc, opset),
            ) from exc
        context.progress("writing", None)
        return onnx_file.write(onnx.load(str(draft)), output, artifact, opset, "legacy")


def _module_and_examples(artifact: Artifact, opset: int) -> tuple[Any, tuple[torch.Tensor, ...]]:
    from convkit_torch import container, reading, state
    from convkit_torch.signature import example_tensors
    from convkit_torch.traceable import traceable_module

    if reading.container_of(artifact.path) == container.TORCHSCRIPT:
        names = [spec.name for spec in artifact.inputs]
        script = reading.load_script(artifact.path, artifact.read)
        return script, reading.example_tensors(names, artifact.read)
    program = reading.load_program(artifact.path, artifact.read)
    state.refuse_state(program)
    return traceable_module(program, opset), example_tensors(program)


def _dynamic_axes(specs: Sequence[TensorSpec]) -> dict[str, dict[int, str]]:
    axes = {
        spec.name: {
            axis: str(d) if d is not None else f"{spec.name}_{axis}"
            for axis, d in enumerate(spec.shape)
            if not isinstance(d, int)
        }
        for spec in specs
    }
    return {name: dims for name, dims in axes.items() if dims}


def _hint(exc: Exception, opset: int) -> str:
    """What torch's message says about opsets, in terms of this converter's option."""
    added = re.search(r"added in version (\d+)", str(exc))
    if added and int(added.group(1)) > opset:
        return f"Export at opset {added.group(1)} or newer, or by torch.onnx-dynamo."
    return "The other exporter may do it: --avoid torch.onnx-legacy."
