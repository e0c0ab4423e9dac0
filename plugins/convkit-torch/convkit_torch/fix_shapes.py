"""`torch.fix-shapes`: a program with open axes becomes one of fixed shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from convkit.errors import ConversionError
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
    TraitRequirement,
)
from convkit.plugin.shapes import fixed_shapes

if TYPE_CHECKING:
    from torch.export import ExportedProgram


class FixShapes(ConverterBase):
    """A preparation for consumers that take fixed shapes only.

    Sizes come from the shapes that the user stated; the same symbol takes the same size
    everywhere, and a first axis of which nothing is known takes the batch size.
    """

    name: str = "torch.fix-shapes"
    source: State = State("torch")
    target: State = State("torch")
    requirements: tuple[str, ...] = ("torch",)
    seconds: float = 5.0
    options: tuple[Option, ...] = (
        Option("batch", 1, "size of a first axis that nothing is known of", minimum=1),
    )
    requires: tuple[TraitRequirement, ...] = (
        TraitRequirement("container", one_of=("pt2",)),
        TraitRequirement("stateful", one_of=(False,)),
    )
    provides: tuple[TraitProvision, ...] = (
        TraitProvision("container", value="pt2"),
        TraitProvision("dynamic", value=False),
    )

    def check(self, artifact: Artifact, options: Mapping[str, OptionValue]) -> Sequence[Obstacle]:
        """Axes whose size nobody has said."""
        try:
            fixed_shapes(artifact.inputs, artifact.read.shapes, int(options["batch"]))
        except ConversionError as error:
            return (Obstacle(error.message, remedy=error.hint),)
        return ()

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, OptionValue],
        context: HopContext,
    ) -> Artifact:
        """Export the program again with inputs of the resolved shapes; see `Converter`.

        Raises:
            ConversionError: a size is missing, or the program does not take these sizes.
        """
        from convkit_torch import reading, saving, state
        from convkit_torch.signature import is_dynamic, program_specs

        context.progress("loading", None)
        program = reading.load_program(artifact.path, artifact.read)
        state.refuse_state(program)
        before = program_specs(program)
        shapes = fixed_shapes(before[0], artifact.read.shapes, int(options["batch"]))
        context.progress("exporting", None)
        fixed = _exported(program, shapes)
        inputs, outputs = (
            _like(old, new) for old, new in zip(before, program_specs(fixed), strict=True)
        )
        context.progress("writing", None)
        saving.save(fixed, output)
        inputs = _ordered(artifact.inputs, before[0], inputs)
        outputs = _ordered(artifact.outputs, before[1], outputs)
        if is_dynamic(inputs):
            raise ConversionError("torch.export kept an axis open")
        return replace(
            artifact,
            path=output,
            inputs=inputs,
            outputs=outputs,
            traits={**artifact.traits, "container": "pt2", "dynamic": False},
        )


def _exported(program: ExportedProgram, shapes: Mapping[str, tuple[int, ...]]) -> ExportedProgram:
    import torch

    from convkit_torch import reading
    from convkit_torch.signature import call_arguments, input_slots

    tensors = [
        torch.zeros(shapes[slot.node], dtype=slot.value.dtype) for slot in input_slots(program)
    ]
    args, kwargs = call_arguments(program, tensors)
    try:
        with torch.no_grad():
            return torch.export.export(program.module(), args, kwargs or None, strict=False)
    except Exception as exc:
        sizes = ", ".join(f"{n}={'x'.join(map(str, s))}" for n, s in shapes.items())
        raise ConversionError(
            f"the program does not take {sizes}: {reading.first_line(exc)}",
            hint="Choose sizes within the ranges that it was exported with.",
        ) from exc


def _like(old: Sequence[TensorSpec], new: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """The new specs, after a check that they are the old ones with sizes."""
    for a, b in zip(old, new, strict=True):
        fits = len(a.shape) == len(b.shape) and all(
            not isinstance(d, int) or d == e for d, e in zip(a.shape, b.shape, strict=True)
        )
        if a.dtype != b.dtype or not fits:
            raise ConversionError(f"{a.name} became {b.dtype}{list(b.shape)}")
    return tuple(new)


def _ordered(
    wanted: Sequence[TensorSpec], old: Sequence[TensorSpec], new: Sequence[TensorSpec]
) -> tuple[TensorSpec, ...]:
    """The new specs in the artifact's order, which names the old ones."""
    place = {spec.name: i for i, spec in enumerate(old)}
    return tuple(replace(new[place[s.name]], layout=s.layout) for s in wanted)
