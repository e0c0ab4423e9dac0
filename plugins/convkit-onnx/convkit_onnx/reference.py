"""`onnx.reference`: the onnx package's own evaluator, for originals that no runtime executes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from convkit.errors import ConversionError
from convkit.plugin import Artifact, Session


class ReferenceRunner:
    """Operator by operator in numpy: slow, but complete where ONNX Runtime lacks a type or an
    operator that is new."""

    name: str = "onnx.reference"
    format: str = "onnx"
    requirements: tuple[str, ...] = ("onnx", "numpy")

    def open(self, artifact: Artifact, threads: int) -> Session:
        """Build an evaluator.

        Raises:
            ConversionError: the evaluator lacks an operator, too.
            InputError, UnsafeError: external data is missing or lies elsewhere.
        """
        from onnx.reference import ReferenceEvaluator

        from convkit_onnx import reading

        reading.check_external_data(reading.load_graph(artifact.path), artifact.path)
        try:
            evaluator = ReferenceEvaluator(str(artifact.path))
        except Exception as exc:  # it raises whatever its operators raise
            raise _refused(exc) from exc
        inputs = tuple(spec.name for spec in artifact.inputs)
        return ReferenceSession(evaluator, inputs, tuple(spec.name for spec in artifact.outputs))


@dataclass(frozen=True)
class ReferenceSession:
    """An evaluator with the artifact's order of inputs and outputs."""

    evaluator: Any
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def run(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """One inference; see `Session`."""
        import numpy as np

        try:
            found = self.evaluator.run(
                list(self.outputs), dict(zip(self.inputs, inputs, strict=True))
            )
        except Exception as exc:
            raise _refused(exc) from exc
        if not all(isinstance(value, np.ndarray | np.generic) for value in found):
            raise ConversionError("an output is no tensor")
        return tuple(np.asarray(value) for value in found)


def _refused(exc: Exception) -> ConversionError:
    from convkit_onnx.reading import first_line

    return ConversionError(f"onnx's reference evaluator cannot run the model: {first_line(exc)}")
