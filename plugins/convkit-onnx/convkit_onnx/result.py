"""Describe what a step from ONNX to ONNX has written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from convkit.artifact import Trait
from convkit.plugin import Artifact, State, TensorSpec


def describe(source: Artifact, output: Path, model: Any, state: State, **traits: Trait) -> Artifact:
    """The artifact at `output`: inputs and outputs as the source lists them, with the shapes that
    the new model has.

    Args:
        model: what was written.
        traits: those that the step changes.
    """
    from convkit_onnx.inspector import io_specs

    inputs, outputs = io_specs(model)
    shapes = {spec.name: spec.shape for spec in (*inputs, *outputs)}

    def renewed(specs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
        return tuple(replace(spec, shape=shapes.get(spec.name, spec.shape)) for spec in specs)

    return replace(
        source,
        path=output,
        state=state,
        inputs=renewed(source.inputs),
        outputs=renewed(source.outputs),
        traits={**source.traits, **traits},
    )
