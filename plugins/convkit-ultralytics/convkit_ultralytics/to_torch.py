"""`ultralytics.torch`: a checkpoint or a description becomes a torch.export archive."""

from __future__ import annotations

from collections.abc import Mapping
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
from convkit_ultralytics.reading import Original, output_names

# Stack traces quote source code and absolute paths. Module paths (`nn_module_stack`) stay: they
# name the layers in every later format.
_PRIVATE = ("stack_trace", "source_fn_stack", "from_node", "custom")


class UltralyticsTorch(ConverterBase):
    """The road to every format that starts from torch."""

    name: str = "ultralytics.torch"
    source: State = State("ultralytics")
    target: State = State("torch")
    requirements: tuple[str, ...] = ("ultralytics", "torch", "pyyaml")
    seconds: float = 10.0
    options: tuple[Option, ...] = (FUSE,)
    provides: tuple[TraitProvision, ...] = (TraitProvision("container", value="pt2"),)

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, OptionValue],
        context: HopContext,
    ) -> Artifact:
        """Load, fuse, capture, and save without source paths; see `Converter`."""
        import torch

        from convkit_ultralytics import exporting, framework, reading

        context.progress("loading", None)
        original = reading.load(artifact.path, artifact.read)
        module, images = exporting.exportable(original, artifact, bool(options["fuse"]))
        names = reading.output_names(len(artifact.outputs))
        exporting.returning(module, lambda found: dict(zip(names, found, strict=True)))
        context.progress("exporting", None)
        try:
            with torch.no_grad():
                program = torch.export.export(
                    module, (images,), dynamic_shapes=_dynamic_shapes(original), strict=False
                )
        except Exception as exc:  # torch raises any type
            raise ConversionError(
                f"torch.export cannot capture the model: {framework.first_line(exc)}",
                hint="The other road may do it: --avoid ultralytics.torch.",
            ) from exc
        context.progress("saving", None)
        _strip(program)
        torch.export.save(program, str(output))
        return replace(
            artifact,
            path=output,
            state=self.target,
            inputs=_as_captured(program, "input", artifact.inputs),
            outputs=_as_captured(program, "output", artifact.outputs),
            traits={
                **exporting.kept_traits(artifact),
                "container": "pt2",
                "dynamic": bool(original.dynamic),
            },
        )


def _dynamic_shapes(original: Original) -> Any:
    from torch.export import Dim

    if not original.dynamic:
        return None
    # Height and width are multiples of the stride, which torch finds out by itself.
    return ({a: Dim("batch", min=1) if a == 0 else Dim.AUTO for a in original.dynamic},)


def _as_captured(program: Any, kind: str, specs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    """The specs with the shapes of the captured graph, whose symbols are torch's."""
    nodes = {node.name: node for node in program.graph.nodes}
    arguments = getattr(program.graph_signature, f"user_{kind}s")
    names = [spec.name for spec in specs] if kind == "input" else output_names(len(specs))
    values = {name: nodes[node].meta["val"] for name, node in zip(names, arguments, strict=True)}
    return tuple(
        replace(
            spec,
            shape=tuple(
                d if isinstance(d, int) else str(d).replace(" ", "")
                for d in values[spec.name].shape
            ),
        )
        for spec in specs
    )


def _strip(program: Any) -> None:
    import torch

    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                for key in _PRIVATE:
                    node.meta.pop(key, None)
