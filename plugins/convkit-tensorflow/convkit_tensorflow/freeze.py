"""The edge tf-saved -> tf-frozen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from convkit.errors import ConversionError
from convkit.plugin import Artifact, ConverterBase, HopContext, State, TraitRequirement
from convkit_tensorflow import graph, signatures
from convkit_tensorflow.runtime import REQUIREMENTS, first_line, tensorflow


class Freeze(ConverterBase):
    """Variables become constants and the signature one flat graph.

    Loops become the primitive operators of TensorFlow 1, which readers of frozen graphs expect.
    Placeholders come first in the file and outputs last, in the artifact's order, and bear the
    names of the signature.
    """

    name: str = "tensorflow.freeze"
    source: State = State("tf-saved")
    target: State = State("tf-frozen")
    requirements: tuple[str, ...] = REQUIREMENTS
    requires: tuple[TraitRequirement, ...] = (graph.FITS_IN_ONE_MESSAGE,)
    seconds: float = 10.0

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, bool | int | float | str],
        context: HopContext,
    ) -> Artifact:
        """See `Converter.convert`."""
        context.progress("loading the SavedModel", None)
        tf = tensorflow(context.threads)
        _loaded, function = signatures.load(tf, artifact.path)
        arguments = signatures.input_tensors(function)
        results = signatures.output_tensors(function)
        inputs = signatures.ordered("inputs", artifact.inputs, arguments, artifact)
        outputs = signatures.ordered("outputs", artifact.outputs, results, artifact)
        if graph.changes_variables(graph.definition_of(function)):
            raise ConversionError(
                f"{artifact.path.name} assigns variables while it runs, so it cannot be frozen"
            )
        context.progress("freezing", None)
        try:
            definition, starts, ends = graph.freeze(
                tf, function, [n for n, _ in inputs], [n for n, _ in outputs], lower=True
            )
            output.write_bytes(definition.SerializeToString(deterministic=True))
        except Exception as exc:
            raise ConversionError(
                f"TensorFlow could not freeze {artifact.path.name}: {first_line(exc)}"
            ) from exc
        return Artifact(
            path=output,
            state=self.target,
            inputs=tuple(signatures.spec(starts[n], arguments[n], s) for n, s in inputs),
            outputs=tuple(signatures.spec(ends[n], results[n], s) for n, s in outputs),
            read=artifact.read,
        )
