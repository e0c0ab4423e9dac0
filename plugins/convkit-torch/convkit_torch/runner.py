"""`torch.run`: executes every kind of torch artifact on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from convkit.errors import ConversionError, ConvkitError
from convkit.plugin import Artifact, Session, TracedTensor


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

        if threads > 0:
            torch.set_num_threads(threads)
        try:
            kind = reading.container_of(artifact.path)
            if kind in (container.PT2, container.PT2_OLD):
                program = reading.load_program(artifact.path, artifact.read)
                names = _names(program)
                call = _program_call(program)
            elif kind == container.TORCHSCRIPT:
                script = reading.load_script(artifact.path, artifact.read)
                names = _script_names(script, artifact)
                call = _module_call(script)
            else:
                model = reading.load_eager(artifact.path, artifact.read)
                names = _eager_names(model, artifact)
                call = _module_call(model.module)
            return TorchSession(
                call, _order(artifact.inputs, names[0]), _order(artifact.outputs, names[1])
            )
        except ConvkitError:
            raise
        except Exception as exc:
            raise ConversionError(f"torch cannot load it: {reading.first_line(exc)}") from exc

    def trace(
        self, artifact: Artifact, inputs: Sequence[Any], threads: int
    ) -> Iterator[TracedTensor]:
        """Every node of the exported program; see `Tracer`.

        Raises:
            ConversionError: TorchScript, which has no such nodes, or an input does not fit.
        """
        import torch

        from convkit_torch import reading, tracing

        if threads > 0:
            torch.set_num_threads(threads)
        program = traceable_program(artifact)
        tensors = placed_inputs(artifact, program, inputs)
        try:
            yield from tracing.trace_program(program, tensors)
        except ConvkitError:
            raise
        except Exception as exc:  # operators raise any type
            raise ConversionError(f"torch cannot run it: {reading.first_line(exc)}") from exc


def placed_inputs(artifact: Artifact, program: Any, arrays: Sequence[Any]) -> list[Any]:
    """Arrays in the artifact's order as tensors in that of its program."""
    return _placed(arrays, _order(artifact.inputs, _names(program)[0]))


def traceable_program(artifact: Artifact) -> Any:
    """The program whose nodes are the layers that the inspector reports.

    Raises:
        ConversionError: TorchScript, which has no such nodes.
    """
    from convkit_torch import container, reading

    kind = reading.container_of(artifact.path)
    if kind in (container.PT2, container.PT2_OLD):
        return reading.load_program(artifact.path, artifact.read)
    if kind == container.TORCHSCRIPT:
        raise ConversionError(
            "TorchScript does not show its layers",
            hint="Export the module with torch.export to see inside.",
        )
    model = reading.load_eager(artifact.path, artifact.read)
    return reading.export(model.module, model.examples, artifact.read.dynamic)


Names = tuple[Sequence[str], Sequence[str]]
"""Of inputs and of outputs, in the file's order."""


def _names(program: Any) -> Names:
    from convkit_torch.signature import program_specs

    inputs, outputs = program_specs(program)
    return [s.name for s in inputs], [s.name for s in outputs]


def _script_names(script: Any, artifact: Artifact) -> Names:
    from convkit_torch import reading, script_file

    described = script_file.read(artifact.path)
    if described is not None:
        return [s.name for s in described.inputs], [s.name for s in described.outputs]
    inputs = reading.script_inputs(script, artifact.read)
    return [s.name for s in inputs], reading.script_outputs(len(artifact.outputs))


def _eager_names(model: Any, artifact: Artifact) -> Names:
    """The names that the inspector gave: those of the exported program.

    What is run is the module all the same, so that an export can be verified against it. A copy
    is exported, because tracing leaves tensors in caches of some modules.
    """
    import copy

    from convkit_torch import reading

    if len(artifact.inputs) == len(artifact.outputs) == 1:
        return [artifact.inputs[0].name], [artifact.outputs[0].name]  # spares the export
    return _names(
        reading.export(copy.deepcopy(model.module), model.examples, artifact.read.dynamic)
    )


def _module_call(module: Any) -> Callable[[Sequence[Any]], Sequence[Any]]:
    from convkit_torch.reading import flat_tensors

    return lambda tensors: flat_tensors(module(*tensors))


def _program_call(program: Any) -> Callable[[Sequence[Any]], Sequence[Any]]:
    from convkit_torch.reading import flat_tensors
    from convkit_torch.signature import binder

    module, bind = program.module(), binder(program)

    def call(tensors: Sequence[Any]) -> Sequence[Any]:
        args, kwargs = bind(tensors)
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

        with torch.no_grad():
            results = self.call(_placed(inputs, self.inputs))
        arrays = []
        for place in self.outputs:
            tensor = results[place].detach().cpu()
            arrays.append(np.array((tensor.float() if _bfloat(tensor) else tensor).numpy()))
        return tuple(arrays)


def _placed(arrays: Sequence[Any], places: Sequence[int]) -> list[Any]:
    """Arrays in the artifact's order as tensors in the file's order."""
    import numpy as np
    import torch

    placed: list[Any] = [None] * len(places)
    for place, array in zip(places, arrays, strict=True):
        own = np.array(array, order="C")
        if str(own.dtype) == "bfloat16":  # of ml_dtypes, which torch does not know
            placed[place] = torch.from_numpy(own.view(np.int16)).view(torch.bfloat16)
        else:
            placed[place] = torch.from_numpy(own)
    return placed


def _bfloat(tensor: Any) -> bool:
    return str(tensor.dtype) == "torch.bfloat16"
