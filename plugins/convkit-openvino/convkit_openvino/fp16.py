"""`openvino.fp16`: weights in half precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from convkit.plans import OptionValue
from convkit.plugin import Artifact, ConverterBase, HopContext, State
from convkit_openvino.runtime import REQUIREMENTS


class CompressToFp16(ConverterBase):
    """Stores weights as float16. Inputs, outputs and the operators stay float32: a runtime expands
    the weights when it loads them. Constants with a value that float16 cannot hold stay float32."""

    name: str = "openvino.fp16"
    source: State = State("openvino")
    target: State = State("openvino", "fp16")
    requirements: tuple[str, ...] = REQUIREMENTS
    loss: int = 1
    seconds: float = 2.0

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, OptionValue],
        context: HopContext,
    ) -> Artifact:
        """See `Converter.convert`."""
        from convkit_openvino import ir, runtime, saving

        context.progress("reading", None)
        ir.load(artifact.path)
        model = runtime.read_model(artifact.path)
        context.progress("writing", None)
        saving.save(model, output, context.workdir, half=True)
        return replace(artifact, path=output, state=self.target, digest="", size_bytes=0)
