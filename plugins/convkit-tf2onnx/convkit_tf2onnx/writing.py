"""Writes the ONNX file and describes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convkit.errors import ConversionError
from convkit.plugin import Artifact, State
from convkit_tf2onnx.tool import first_line
from convkit_tf2onnx.translate import EXPORTER, specs


def write(model: Any, artifact: Artifact, output: Path) -> Artifact:
    """The artifact of a ModelProto that `translate` made of `artifact`.

    Raises:
        ConversionError: with its weights it does not fit one message.
    """
    try:
        output.write_bytes(model.SerializeToString(deterministic=True))
    except Exception as exc:
        raise ConversionError(
            f"the ONNX model of {artifact.path.name} cannot be written: {first_line(exc)}"
        ) from exc
    return Artifact(
        path=output,
        state=State("onnx"),
        inputs=specs(model.graph.input, artifact.inputs),
        outputs=specs(model.graph.output, artifact.outputs),
        traits={
            "opset": next(e.version for e in model.opset_import if not e.domain),
            "exporter": EXPORTER,
        },
        read=artifact.read,
    )
