"""`onnxruntime.run`: executes ONNX artifacts with ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from convkit.errors import ConversionError
from convkit.plugin import Artifact, Session

_ERRORS_ONLY = 3


class OnnxRuntimeRunner:
    """CPU provider, quiet."""

    name: str = "onnxruntime.run"
    format: str = "onnx"
    requirements: tuple[str, ...] = ("onnxruntime", "numpy")

    def open(self, artifact: Artifact, threads: int) -> Session:
        """Build a session.

        Raises:
            ConversionError: ONNX Runtime does not accept the model.
            InputError, UnsafeError: its external data is missing or lies elsewhere.
        """
        import onnxruntime

        from convkit_onnx import reading

        reading.check_external_data(reading.load_graph(artifact.path), artifact.path)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        try:
            session = onnxruntime.InferenceSession(
                str(artifact.path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as exc:  # onnxruntime's exception types share no public base
            raise ConversionError(
                f"ONNX Runtime cannot load the model: {reading.first_line(exc)}",
                hint="An opset or operator newer than this ONNX Runtime is the usual reason.",
            ) from exc
        inputs = tuple(spec.name for spec in artifact.inputs)
        outputs = tuple(spec.name for spec in artifact.outputs)
        if sorted(inputs) != sorted(i.name for i in session.get_inputs()):
            raise ConversionError(f"the model's inputs are not those expected, {list(inputs)}")
        if not set(outputs) <= {o.name for o in session.get_outputs()}:
            raise ConversionError(f"the model's outputs are not those expected, {list(outputs)}")
        return OnnxRuntimeSession(session, inputs, outputs)


@dataclass(frozen=True)
class OnnxRuntimeSession:
    """A session with the artifact's order of inputs and outputs."""

    session: Any
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def run(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """One inference; see `Session`."""
        feeds = dict(zip(self.inputs, inputs, strict=True))
        return tuple(self.session.run(list(self.outputs), feeds))
