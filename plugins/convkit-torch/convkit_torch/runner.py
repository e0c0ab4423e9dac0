"""`torch.run`: executes every kind of torch artifact on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from convkit.errors import ConversionError, ConvkitError
from convkit.plugin import Artifact, Session


class TorchRunner:
    """Eval mode, no gradients."""

    name: str = "torch.run"
    format: str = "torch"
    requirements: tuple[str, ...] = ("torch", "numpy")

    def open(self, artifact: Artifact, threads: int) -> Session:
        """Load the model; torch's thread count is a setting of the whole process.

        Raises:
            ConversionError: torch cannot load it.
        """
        import torch

        from convkit_torch import container, reading
        from convkit_torch.signature import program_specs

        if threads > 0:
            torch.set_num_threads(threads)
        try:
            kind = reading.container_of(artifact.path)
            if kind in (container.PT2, container.PT2_OLD):
                program = reading.load_program(artifact.path, artifact.read)
                inputs, outputs = program_specs(program)
                return TorchSession(
                    _program_call(program),
                    _order(artifact.inputs, [s.name for s in inputs]),
                    _order(artifact.outputs, [s.name for s in outputs]),
                )
            if kind == container.TORCHSCRIPT:
                module = reading.load_script(artifact.path, artifact.read)
            else:
                module = reading.load_eager(artifact.path, artifact.read).module
        except ConvkitError:
            raise
        except Exception as exc:
            raise ConversionError(f"torch cannot load it: {reading.first_line(exc)}") from exc
        return TorchSession(
            lambda tensors: reading.flat_tensors(module(*tensors)),
            tuple(range(len(artifact.inputs))),
            tuple(range(len(artifact.outputs))),
        )


def _program_call(program: Any) -> Callable[[Sequence[Any]], Sequence[Any]]:
    from convkit_torch.reading import flat_tensors
    from convkit_torch.signature import call_arguments

    module = program.module()

    def call(tensors: Sequence[Any]) -> Sequence[Any]:
        args, kwargs = call_arguments(program, tensors)
        return flat_tensors(module(*args, **kwargs))

    return call


def _order(specs: Sequence[Any], names: Sequence[str]) -> tuple[int, ...]:
    """For each spec its place in the file."""
    if sorted(spec.name for spec in specs) != sorted(names):
        raise ConversionError(
            f"the file's tensors {list(names)} are not those expected, {[s.name for s in specs]}"
        )
    return tuple(names.index(spec.name) for spec in specs)


@dataclass(frozen=True)
class TorchSession:
    """A callable over flat tensors.

    Attributes:
        call: flat input tensors to flat output tensors, both in the file's order.
        inputs, outputs: for each artifact input or output its place in the file's order.
    """

    call: Callable[[Sequence[Any]], Sequence[Any]]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def run(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """One inference; see `Session`. bfloat16, which numpy lacks, comes out as float32."""
        import numpy as np
        import torch

        placed: list[Any] = [None] * len(self.inputs)
        for place, array in zip(self.inputs, inputs, strict=True):
            placed[place] = torch.from_numpy(np.array(array, order="C"))
        with torch.no_grad():
            results = self.call(placed)
        arrays = []
        for place in self.outputs:
            tensor = results[place].detach().cpu()
            arrays.append(np.array((tensor.float() if _bfloat(tensor) else tensor).numpy()))
        return tuple(arrays)


def _bfloat(tensor: Any) -> bool:
    return str(tensor.dtype) == "torch.bfloat16"
