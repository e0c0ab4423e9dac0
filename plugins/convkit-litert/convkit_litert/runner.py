"""Executes TFLite files with the LiteRT interpreter (XNNPACK where it applies)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convkit.errors import ConversionError
from convkit.plugin import Artifact, ExecutionProfile, Session, TensorSpec, TracedTensor

if TYPE_CHECKING:
    from convkit_litert.model import Model, Port

_SELECT_TF = ("Select TensorFlow op", "Flex")


class LiteRtRunner:
    """Opens `.tflite` files of any producer."""

    name: str = "litert.run"
    format: str = "tflite"
    requirements: tuple[str, ...] = ("ai-edge-litert",)

    def open(self, artifact: Artifact, threads: int) -> Session:
        """See `Runner.open`. The file is parsed with bounds checks before the interpreter,
        which makes none, gets to see it.

        Raises:
            InputError: the file is damaged.
            ConversionError: the runtime cannot load it.
        """
        from convkit_litert.model import load

        model = load(artifact.path)
        made = interpreter(artifact.path.name, threads, model_path=str(artifact.path))
        return LiteRtSession(artifact, model, made)

    def trace(
        self, artifact: Artifact, inputs: Sequence[Any], threads: int
    ) -> Iterator[TracedTensor]:
        """See `Tracer.trace`.

        Raises:
            InputError: the file is damaged.
            ConversionError: the runtime cannot load or run it.
        """
        from convkit_litert.tracer import trace

        return trace(artifact, inputs, threads)

    def profile(
        self, artifact: Artifact, inputs: Sequence[Any], threads: int, runs: int, folder: Path
    ) -> ExecutionProfile:
        """See `Profiler`."""
        from convkit_litert.profiling import profile

        return profile(self.name, artifact, inputs, threads, runs)


def interpreter(name: str, threads: int, **source: Any) -> Any:
    """An interpreter with its tensors allocated.

    Args:
        name: for messages.
        source: `model_path` or `model_content`.

    Raises:
        ConversionError: the runtime cannot load the file.
    """
    from ai_edge_litert.interpreter import Interpreter

    try:
        made = Interpreter(num_threads=threads or None, **source)
        made.allocate_tensors()
    except Exception as exc:
        text = str(exc).strip() or type(exc).__name__
        if any(mark in text for mark in _SELECT_TF):
            raise ConversionError(
                f"{name} needs TensorFlow's own operators (Flex)",
                hint="The LiteRT runtime has none of them; convert with builtin operators only.",
            ) from exc
        raise ConversionError(f"LiteRT cannot load {name}: {text.splitlines()[0]}") from exc
    return made


class LiteRtSession:
    """An opened file; arrays go in and come out in the order of the artifact."""

    def __init__(self, artifact: Artifact, model: Model, made: Any) -> None:
        self._interpreter = made
        self._inputs = resolve(artifact.inputs, model.inputs(), "input")
        self._outputs = resolve(artifact.outputs, model.outputs(), "output")
        self._scalars = [
            index
            for index, spec in enumerate(artifact.outputs)
            if not spec.shape and tuple(self._outputs[index].tensor.shape) == (1,)
        ]
        self._shapes = {port.index: port.tensor.shape for port in self._inputs}

    def run(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """One inference; see `Session.run`.

        Raises:
            ConversionError: wrong number, shape or range of inputs, or a kernel fails.
        """
        from convkit_litert.arrays import decode, encode

        if len(inputs) != len(self._inputs):
            raise ConversionError(f"{len(self._inputs)} inputs are needed, {len(inputs)} given")
        arrays = [encode(array, port) for array, port in zip(inputs, self._inputs, strict=True)]
        try:
            self._resize(arrays)
            for array, port in zip(arrays, self._inputs, strict=True):
                self._interpreter.set_tensor(port.index, array)
            self._interpreter.invoke()
        except (RuntimeError, ValueError) as exc:
            raise ConversionError(f"LiteRT failed: {str(exc).strip().splitlines()[0]}") from exc
        outputs = [decode(self._interpreter.get_tensor(p.index), p) for p in self._outputs]
        for index in self._scalars:
            outputs[index] = outputs[index].reshape(())
        return tuple(outputs)

    def _resize(self, arrays: Sequence[Any]) -> None:
        changed = False
        for array, port in zip(arrays, self._inputs, strict=True):
            if array.shape != self._shapes[port.index]:
                self._interpreter.resize_tensor_input(port.index, array.shape, strict=True)
                self._shapes[port.index] = array.shape
                changed = True
        if changed:
            self._interpreter.allocate_tensors()


def resolve(specs: Sequence[TensorSpec], ports: Sequence[Port], what: str) -> tuple[Port, ...]:
    """The file's port of each spec: by public name, by tensor name, else by position.

    Raises:
        ConversionError: another number of them, or another rank.
    """
    if not specs:
        return tuple(ports)
    if len(specs) != len(ports):
        raise ConversionError(f"the file has {len(ports)} {what}s, {len(specs)} are expected")
    by_name = {port.tensor.name: port for port in ports} | {port.name: port for port in ports}
    names = [spec.name for spec in specs]
    known = len(set(names)) == len(names) and all(name in by_name for name in names)
    chosen = tuple(by_name[name] for name in names) if known else tuple(ports)
    for spec, port in zip(specs, chosen, strict=True):
        scalar = not spec.shape and tuple(port.tensor.shape) == (1,)  # some writers have no other
        if len(spec.shape) != len(port.tensor.shape) and not scalar:
            raise ConversionError(f"{what} {spec.name} does not fit the file's {port.name}")
    return chosen
