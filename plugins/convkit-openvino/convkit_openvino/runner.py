"""`openvino.run`: executes OpenVINO IR on the CPU, and shows what happens inside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convkit.errors import ConversionError
from convkit.plugin import Artifact, ExecutionProfile, Session, TensorSpec, TracedTensor
from convkit_openvino import dtypes
from convkit_openvino.runtime import REQUIREMENTS

if TYPE_CHECKING:
    import openvino


class OpenVinoRunner:
    """OpenVINO's CPU plugin. It computes in float32 whatever the processor could do faster, so that
    a verification judges the model and not the shortcuts of a device."""

    name: str = "openvino.run"
    format: str = "openvino"
    requirements: tuple[str, ...] = REQUIREMENTS

    def open(self, artifact: Artifact, threads: int) -> Session:
        """Read, check and compile.

        Raises:
            InputError: the `.xml` is damaged, or the `.bin` is missing or of another model.
            ConversionError: OpenVINO cannot compile it, or its interface is another one.
        """
        from convkit_openvino import interface, ir, runtime

        ir.load(artifact.path)
        model = runtime.read_model(artifact.path)
        names = interface.input_names(model), interface.output_names(model)
        return OpenVinoSession(artifact, compiled(model, artifact.path.name, threads), names)

    def trace(
        self, artifact: Artifact, inputs: Sequence[Any], threads: int
    ) -> Iterator[TracedTensor]:
        """See `Tracer.trace`. Every intermediate tensor is made an output, which keeps the
        runtime from fusing it away."""
        from convkit_openvino.tracing import trace

        return trace(artifact, inputs, threads)

    def profile(
        self, artifact: Artifact, inputs: Sequence[Any], threads: int, runs: int, folder: Path
    ) -> ExecutionProfile:
        """See `Profiler`."""
        from convkit_openvino.profiling import profile

        return profile(self.name, artifact, inputs, threads, runs)


def compiled(model: openvino.Model, name: str, threads: int, *, counting: bool = False) -> Any:
    """A compiled model, exact rather than fast.

    Args:
        counting: let it measure its kernels.

    Raises:
        ConversionError: OpenVINO's CPU plugin cannot execute it.
    """
    import openvino

    from convkit_openvino.runtime import first_line

    options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if counting:
        options["PERF_COUNT"] = True
    if threads > 0:
        options["INFERENCE_NUM_THREADS"] = threads
    try:
        return openvino.Core().compile_model(model, "CPU", options)
    except Exception as exc:  # RuntimeError
        raise ConversionError(f"OpenVINO cannot compile {name}: {first_line(exc)}") from exc


class OpenVinoSession:
    """A compiled model; arrays go in and come out in the order of the artifact."""

    def __init__(
        self, artifact: Artifact, model: Any, names: tuple[tuple[str, ...], tuple[str, ...]]
    ) -> None:
        self._inputs = places(artifact.inputs, names[0], "input")
        self._outputs = places(artifact.outputs, names[1], "output")
        self._model = model
        self._request = model.create_infer_request()

    def run(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """One inference; see `Session.run`. State starts anew each time.

        Raises:
            ConversionError: wrong number or shape of inputs, or an operator fails.
        """
        import numpy as np

        feed(self._request, self._inputs, inputs)
        # Results are views of memory that the next inference overwrites.
        return tuple(np.array(values(self._request.get_output_tensor(p))) for p in self._outputs)


def values(tensor: Any) -> Any:
    """A tensor's values; types that numpy lacks in ml_dtypes' own, of which OpenVINO's view has the
    bits under another type's name (bfloat16 under float16's)."""
    name = dtypes.numpy_name(tensor.element_type.get_type_name())
    if name not in dtypes.FOREIGN:
        return tensor.data
    import ml_dtypes

    return tensor.data.view(getattr(ml_dtypes, name))


def _tensor(array: Any, port: Any) -> Any:
    """The other way round; OpenVINO would take ml_dtypes' arrays by value where it takes them."""
    import numpy as np
    import openvino

    if dtypes.numpy_name(port.element_type.get_type_name()) not in dtypes.FOREIGN:
        return array
    bits = np.ascontiguousarray(array).view(f"uint{8 * array.itemsize}")
    return openvino.Tensor(bits, openvino.Shape(list(array.shape)), port.element_type)


def feed(request: Any, order: Sequence[int], inputs: Sequence[Any]) -> None:
    """Run one inference.

    Args:
        order: for each array the place of its input in the file.

    Raises:
        ConversionError: wrong number or shape of inputs, or an operator fails.
    """
    import numpy as np
    import openvino

    from convkit_openvino.runtime import first_line

    if len(inputs) != len(order):
        raise ConversionError(f"{len(order)} inputs are needed, {len(inputs)} given")
    arrays = {place: np.asarray(a) for place, a in zip(order, inputs, strict=True)}
    for place, array in arrays.items():
        # A model with open axes would take an array of a wrong size on any axis.
        port = request.model_inputs[place]
        if not port.partial_shape.compatible(openvino.PartialShape(list(array.shape))):
            raise ConversionError(
                f"{port.node.friendly_name} takes shape {port.partial_shape}, "
                f"not {list(array.shape)}"
            )
    try:
        request.reset_state()
        ports = request.model_inputs
        tensors = {place: _tensor(a, ports[place]) for place, a in arrays.items()}
        # Shared, since they live until it returns, and whoever wants the outputs copies them.
        request.infer(tensors, share_inputs=True, share_outputs=True)
    except Exception as exc:  # RuntimeError
        raise ConversionError(f"OpenVINO failed: {first_line(exc)}") from exc


def places(specs: Sequence[TensorSpec], names: Sequence[str], what: str) -> tuple[int, ...]:
    """The file's place of each spec, by name.

    Raises:
        ConversionError: a name is not in the file, or inputs are left over.
    """
    if not specs:
        return tuple(range(len(names)))
    known = {name: place for place, name in enumerate(names)}
    missing = [spec.name for spec in specs if spec.name not in known]
    if missing or (what == "input" and len(specs) != len(names)):
        raise ConversionError(
            f"the model's {what}s are {', '.join(names)}, not those expected: "
            f"{', '.join(spec.name for spec in specs)}"
        )
    return tuple(known[spec.name] for spec in specs)
