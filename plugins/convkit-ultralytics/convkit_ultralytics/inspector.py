"""`ultralytics.inspect`: what a checkpoint or a description is, without running its code."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from convkit.errors import InputError
from convkit.plugin import Inspection, ReadOptions, State


class UltralyticsInspector:
    """Reads checkpoints (`.pt`) and model descriptions (`.yaml`)."""

    name: str = "ultralytics.inspect"
    format: str = "ultralytics"
    requirements: tuple[str, ...] = ("ultralytics", "torch", "pyyaml")

    def inspect(self, path: Path, read: ReadOptions) -> Inspection:
        """Read the file and run the model once.

        The precision is fp32 even where the weights are stored as float16, as training leaves
        them: ultralytics itself computes such checkpoints in float32.

        Raises:
            InputError: damaged, or not of this format.
            UnsafeError: reading it would run code and `read.trust` is False.
            UsageError: the shape that was asked for does not fit the model.
        """
        import torch

        from convkit_ultralytics import framework, layers, reading

        original = reading.load(path, read)
        images = torch.zeros(original.shape)
        try:
            found, results = layers.layers_of(original.module, images)
            outputs = reading.output_specs(original, results)
        except Exception as exc:  # the model's own code, on attributes that the file chose
            raise InputError(
                f"the model in {path.name} cannot run: {framework.first_line(exc)}",
                hint="It may come from another version of ultralytics.",
            ) from exc
        if not outputs:
            raise InputError(f"the model in {path.name} returns no tensor")
        return Inspection(
            state=State("ultralytics"),
            inputs=(original.input,),
            outputs=outputs,
            digest=original.digest,
            operators=dict(sorted(Counter(layer.op_type for layer in found).items())),
            parameter_bytes=original.parameter_bytes,
            layers=found,
            traits={**original.traits, "dynamic": bool(original.dynamic)},
            producer=original.producer,
        )
