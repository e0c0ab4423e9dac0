"""`torch.onnx-dynamo-fp16`: programs in half precision stay in half precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from convkit.plans import OptionValue
from convkit.plugin import Artifact, Obstacle, State
from convkit_torch.onnx_dynamo import OnnxDynamo


class OnnxDynamoHalf(OnnxDynamo):
    """The same exporter on float16 weights."""

    name: str = "torch.onnx-dynamo-fp16"
    source: State = State("torch", "fp16")
    target: State = State("onnx", "fp16")

    def check(self, artifact: Artifact, options: Mapping[str, OptionValue]) -> Sequence[Obstacle]:
        """bfloat16, which no runtime of ONNX computes on a CPU."""
        found = [s.name for s in (*artifact.inputs, *artifact.outputs) if s.dtype == "bfloat16"]
        if not found:
            return ()
        remedy = "Cast the model with .float() or .half() before torch.export."
        return (Obstacle(f"bfloat16 ({', '.join(found[:3])})", remedy=remedy),)
