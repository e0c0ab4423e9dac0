"""Runs SavedModels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from convkit.errors import ConversionError, ConvkitError
from convkit.plugin import Artifact, Session, TracedTensor
from convkit_tensorflow import graph, signatures
from convkit_tensorflow.runtime import REQUIREMENTS, first_line, tensorflow


class SavedModelRunner:
    """The serving signature, by TensorFlow."""

    name: str = "tensorflow.run-saved"
    format: str = "tf-saved"
    requirements: tuple[str, ...] = REQUIREMENTS

    def open(self, artifact: Artifact, threads: int) -> Session:
        """See `Runner.open`; threads count only before TensorFlow's first operator."""
        tf = tensorflow(threads)
        try:
            loaded, function = signatures.load(tf, artifact.path)
        except ConvkitError as exc:
            raise ConversionError(exc.message, hint=exc.hint) from exc
        arguments = signatures.input_tensors(function)
        inputs = signatures.ordered("inputs", artifact.inputs, arguments, artifact)
        outputs = signatures.ordered(
            "outputs", artifact.outputs, signatures.output_tensors(function), artifact
        )
        return _SavedSession(
            tf,
            loaded,
            function,
            tuple((name, arguments[name].dtype) for name, _ in inputs),
            tuple(name for name, _ in outputs),
        )

    def trace(
        self, artifact: Artifact, inputs: Sequence[Any], threads: int
    ) -> Iterator[TracedTensor]:
        """See `Tracer.trace`. Layers are those of the graph as its inspector sees it: variables
        as constants, calls inlined.

        Raises:
            InputError: the directory is damaged.
            ConversionError: an inference changes variables, so that there is no such graph.
        """
        from convkit_tensorflow.trace import trace

        tf = tensorflow(threads)
        name = artifact.path.name
        _loaded, function = signatures.load(tf, artifact.path)
        arguments = signatures.input_tensors(function)
        wanted = [n for n, _ in signatures.ordered("inputs", artifact.inputs, arguments, artifact)]
        if graph.changes_variables(graph.definition_of(function)):
            raise ConversionError(f"{name} assigns variables while it runs and cannot be traced")
        try:
            definition, starts, _ = graph.freeze(
                tf, function, wanted, tuple(signatures.output_tensors(function)), lower=False
            )
        except Exception as exc:
            raise ConversionError(f"TensorFlow cannot trace {name}: {first_line(exc)}") from exc
        return trace(tf, definition, [starts[n] for n in wanted], inputs, name)


@dataclass(frozen=True)
class _SavedSession:
    """`loaded` owns the variables that `function` uses."""

    tf: Any
    loaded: Any
    function: Any
    inputs: tuple[tuple[str, Any], ...]
    outputs: tuple[str, ...]

    def run(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """See `Session.run`."""
        results = self.function(
            **{
                name: self.tf.constant(value, dtype)
                for (name, dtype), value in zip(self.inputs, inputs, strict=True)
            }
        )
        return [results[name].numpy() for name in self.outputs]
