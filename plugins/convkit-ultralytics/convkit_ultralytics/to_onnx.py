"""`ultralytics.onnx`: a checkpoint or a description becomes ONNX, by either exporter of torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from convkit.errors import ConversionError
from convkit.plans import OptionValue
from convkit.plugin import (
    Artifact,
    ConverterBase,
    HopContext,
    Option,
    State,
    TensorSpec,
    TraitProvision,
)
from convkit_ultralytics.exporting import FUSE

_DYNAMO_OPSET = 18
_SCOPES = "pkg.torch.onnx.name_scopes"


class UltralyticsOnnx(ConverterBase):
    """Traces the live module: the direct road, and the one that reaches old opsets."""

    name: str = "ultralytics.onnx"
    source: State = State("ultralytics")
    target: State = State("onnx")
    requirements: tuple[str, ...] = ("ultralytics", "torch", "onnx", "onnxscript", "pyyaml")
    seconds: float = 8.0
    options: tuple[Option, ...] = (
        Option("opset", 17, "ONNX operator set to write", minimum=11, maximum=20),
        Option(
            "exporter",
            "legacy",
            "the tracing exporter, or the one that reads a captured graph (opset 18 or newer)",
            choices=("legacy", "dynamo"),
        ),
        FUSE,
    )
    provides: tuple[TraitProvision, ...] = (
        TraitProvision("opset", option="opset"),
        TraitProvision("exporter", option="exporter"),
        TraitProvision("simplified", value=False),
    )

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, OptionValue],
        context: HopContext,
    ) -> Artifact:
        """Load, fuse, export, and scrub source paths; see `Converter`."""
        import onnx
        import torch

        from convkit_ultralytics import exporting, framework, reading

        opset, exporter = int(options["opset"]), str(options["exporter"])
        if exporter == "dynamo" and opset < _DYNAMO_OPSET:
            raise ConversionError(
                f"the dynamo exporter writes opset {_DYNAMO_OPSET} and newer, not {opset}",
                hint="Leave the option `exporter` at `legacy`.",
            )
        context.progress("loading", None)
        original = reading.load(artifact.path, artifact.read)
        if original.dynamic and exporter == "dynamo":
            raise ConversionError(
                "variable axes go through the legacy exporter, or through torch",
                hint="Leave the option `exporter` at `legacy`.",
            )
        module, images = exporting.exportable(original, artifact, bool(options["fuse"]))
        exporting.returning(module, tuple)
        context.progress("exporting", None)
        draft = context.workdir / "draft.onnx"
        try:
            with torch.no_grad():
                exported = torch.onnx.export(
                    module,
                    (images,),
                    None if exporter == "dynamo" else str(draft),
                    dynamo=exporter == "dynamo",
                    opset_version=opset,
                    input_names=[spec.name for spec in artifact.inputs],
                    output_names=reading.output_names(len(artifact.outputs)),
                    dynamic_axes=_dynamic_axes((*artifact.inputs, *artifact.outputs)) or None,
                    verbose=False,
                )
                if exported is not None:
                    exported.save(str(draft))
        except Exception as exc:  # the exporters raise any type
            raise ConversionError(
                f"torch.onnx.export ({exporter}, opset {opset}) failed: "
                + framework.first_line(exc),
                hint="The road through torch may do it: --avoid ultralytics.onnx.",
            ) from exc
        context.progress("writing", None)
        model = onnx.load(str(draft))
        _check(model, artifact, opset)
        _declare(model, artifact)
        _scrub(model)
        output.write_bytes(model.SerializeToString(deterministic=True))
        return replace(
            artifact,
            path=output,
            state=self.target,
            traits={
                **exporting.kept_traits(artifact),
                "opset": opset,
                "exporter": exporter,
                "simplified": False,
                "dynamic": bool(original.dynamic),
            },
        )


def _dynamic_axes(specs: Sequence[TensorSpec]) -> dict[str, dict[int, str]]:
    axes = {
        spec.name: {axis: d for axis, d in enumerate(spec.shape) if isinstance(d, str)}
        for spec in specs
    }
    return {name: dims for name, dims in axes.items() if dims}


def _check(model: Any, artifact: Artifact, opset: int) -> None:
    found = {o.domain: o.version for o in model.opset_import}.get("", 0)
    if found != opset:
        raise ConversionError(
            f"the exporter was asked for opset {opset} and gave {found}",
            hint="It cannot write this model at that opset; choose another one.",
        )
    for specs, values in (
        (artifact.inputs, model.graph.input),
        (artifact.outputs, model.graph.output),
    ):
        if {spec.name for spec in specs} != {value.name for value in values}:
            raise ConversionError(
                f"the exporter renamed {[spec.name for spec in specs]} to "
                f"{[value.name for value in values]}"
            )


def _declare(model: Any, artifact: Artifact) -> None:
    """Write the known sizes of inputs and outputs; a tracer loses them where some are variable."""
    specs = {spec.name: spec for spec in (*artifact.inputs, *artifact.outputs)}
    for value in (*model.graph.input, *model.graph.output):
        dims = value.type.tensor_type.shape.dim
        for dim, size in zip(dims, specs[value.name].shape, strict=True):
            if isinstance(size, int):
                dim.dim_value = size
            else:
                dim.dim_param = str(size)


def _scrub(model: Any) -> None:
    """Remove stack traces, source paths and class names; module scopes stay."""
    graph = model.graph
    model.doc_string, graph.doc_string, graph.name = "", "", "main_graph"
    functions = [node for function in model.functions for node in function.node]
    values = (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
    for message in (model, graph, *model.functions, *functions, *graph.node, *values):
        message.doc_string = ""
        kept = [p for p in message.metadata_props if p.key == _SCOPES]
        del message.metadata_props[:]
        message.metadata_props.extend(kept)
