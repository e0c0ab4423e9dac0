"""What every importer does around its tool: prepare the graph, export the module, check it."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from convkit.errors import ConversionError, ConvkitError
from convkit.plans import OptionValue
from convkit.plugin import (
    Artifact,
    ConverterBase,
    HopContext,
    Obstacle,
    Option,
    State,
    TensorSpec,
    TraitProvision,
)


class Importer(ConverterBase, abc.ABC):
    """onnx -> torch by a tool that builds an fx graph module.

    A subclass says which operators its tool has and builds the module; the rest is here.
    """

    source: State = State("onnx")
    target: State = State("torch")
    options: tuple[Option, ...] = (
        Option("batch", 1, "size of a first axis that cannot stay open", minimum=1),
    )
    provides: tuple[TraitProvision, ...] = (TraitProvision("container", value="pt2"),)

    @abc.abstractmethod
    def missing(self, node: Any, opset: int) -> str:
        """Why the tool cannot convert an ONNX node, empty where its table has it.

        Args:
            opset: the version that the model imports for the node's domain.
        """

    @abc.abstractmethod
    def build(self, model: Any) -> Any:
        """The tool's fx graph module of an ONNX model whose names are all plain identifiers."""

    def check(self, artifact: Artifact, options: Mapping[str, OptionValue]) -> Sequence[Obstacle]:
        """Operators that the tool's table lacks, after constants are folded as `convert` does."""
        from convkit_onnx2torch import preparing, reading

        prepared = preparing.prepare(reading.load(artifact.path), artifact.read.shapes)
        return self._obstacles(prepared)

    def _obstacles(self, prepared: Any) -> tuple[Obstacle, ...]:
        found: dict[str, list[str]] = {}
        for node in prepared.model.graph.node:
            opset = prepared.opset(node.domain)
            reason = self.missing(node, opset)
            if reason:
                found.setdefault(reason, []).append(node.name)
        return tuple(
            Obstacle(what, tuple(layers), "Another importer may have it; see `convkit plan`.")
            for what, layers in found.items()
        )

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, OptionValue],
        context: HopContext,
    ) -> Artifact:
        """Import and export again as a `.pt2` archive; see `Converter`.

        Axes that are open in the model stay open where torch.export can follow them; where it
        cannot, a first axis takes the size `batch`.

        Raises:
            ConversionError: an operator is missing, or torch.export cannot capture the module.
        """
        from convkit_onnx2torch import preparing, reading

        context.progress("loading", None)
        model = reading.load(artifact.path)
        source = preparing.prepare(model, artifact.read.shapes)
        obstacles = self._obstacles(source)
        if obstacles:
            first = obstacles[0]
            raise ConversionError(
                f"{self.name} lacks {', '.join(o.what for o in obstacles[:5])}"
                f" (layer {first.layers[0]})",
                hint=first.remedy,
            )
        attempts = [source]
        if source.is_open:
            closed = preparing.prepare(model, artifact.read.shapes, int(options["batch"]))
            attempts += [] if closed.is_open else [closed]
        program = self._first_success(attempts, context)
        inputs, outputs = _described(program, artifact, source)
        context.progress("writing", None)
        _save(program, output)
        opened = any(not isinstance(d, int) for s in (*inputs, *outputs) for d in s.shape)
        return replace(
            artifact,
            path=output,
            state=self.target,
            inputs=inputs,
            outputs=outputs,
            traits={"container": "pt2", "dynamic": opened},
        )

    def _first_success(self, attempts: Sequence[Any], context: HopContext) -> Any:
        from convkit_onnx2torch import exporting

        for number, prepared in enumerate(attempts, start=1):
            context.progress("building the module", None)
            try:
                module = exporting.named(self.build(prepared.model), prepared)
                context.progress("exporting", None)
                program = exporting.export(module, prepared)
                if number < len(attempts) and exporting.has_unknown_sizes(program):
                    continue  # it could not tell sizes from values
                return program
            except ConvkitError:
                raise
            except Exception as exc:  # tools and torch.export raise any type
                if number == len(attempts):
                    raise ConversionError(
                        f"{self.name} cannot convert this model: {first_line(exc)}",
                        hint="The other importer may do it; simplifying the model first "
                        "(--via onnxslim.simplify) or fixing its shapes (--shape) may help too.",
                    ) from exc
        raise AssertionError("there is always an attempt")


def _described(
    program: Any, artifact: Artifact, prepared: Any
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Specs in the source's order, as the program has them.

    Raises:
        ConversionError: a tensor has another rank, size or type than the ONNX model says.
    """
    from convkit_onnx2torch import exporting

    described = []
    for kind, specs, names, slots in zip(
        ("input", "output"),
        (artifact.inputs, artifact.outputs),
        (prepared.input_names, prepared.output_names),
        exporting.slots(program),
        strict=True,
    ):
        if not len(slots) == len(specs) == len(names):
            raise ConversionError(f"the importer made {len(slots)} {kind}s of {len(specs)}")
        # By place: torch.export turns names into lower case.
        places = {name: place for place, name in enumerate(names)}
        made = []
        for spec in specs:
            name, shape, dtype = slots[places[spec.name]]
            fits = len(shape) == len(spec.shape) and all(
                not (isinstance(a, int) and isinstance(b, int)) or a == b
                for a, b in zip(spec.shape, shape, strict=True)
            )
            if (spec.shape and not fits) or dtype != spec.dtype:
                raise ConversionError(
                    f"{kind} {spec.name} became {dtype}{list(shape)} instead of "
                    f"{spec.dtype}{list(spec.shape)}",
                    hint="The importer misreads an operator; the other one may do it.",
                )
            made.append(replace(spec, name=name, shape=shape, permutation=()))
        described.append(tuple(made))
    return described[0], described[1]


def _save(program: Any, output: Path) -> None:
    """Write the archive without stack traces, which quote absolute paths.

    Raises:
        ConversionError: torch cannot write it, or not read what it wrote.
    """
    import torch

    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                for key in ("stack_trace", "source_fn_stack", "from_node", "custom"):
                    node.meta.pop(key, None)
    try:
        torch.export.save(program, str(output))
        torch.export.load(str(output))
    except Exception as exc:
        output.unlink(missing_ok=True)
        raise ConversionError(
            f"torch cannot keep this program in a file: {first_line(exc)}",
            hint="The other importer writes other operators and may do better.",
        ) from exc


def first_line(exc: BaseException) -> str:
    """The first non-empty line of an exception's text, shortened."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    if isinstance(exc, KeyError) or not lines:  # its text is the bare key
        lines = [f"{type(exc).__name__} {exc}".strip()]
    return lines[0][:300]
