"""`executorch.run`: programs under ExecuTorch's own runtime, on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from convkit.errors import ConversionError
from convkit.plugin import Artifact, Session, TensorSpec

if TYPE_CHECKING:
    from convkit_executorch.program import Pte


_ROOM = (
    "Memory is planned when the file is made: give the axis a larger limit in torch.export or, "
    "where it has none there, the edge a larger option `largest`."
)


class ExecutorchRunner:
    """Portable kernels and XNNPACK, as the executorch wheel brings them."""

    name: str = "executorch.run"
    format: str = "executorch"
    requirements: tuple[str, ...] = ("executorch>=1.5,<1.6", "torch", "numpy")

    def open(self, artifact: Artifact, threads: int) -> Session:
        """Load the method that computes; the number of threads is a setting of the whole process.

        Raises:
            InputError: the file is damaged.
            ConversionError: the runtime cannot load it.
        """
        from convkit_executorch import program

        pte = program.load(artifact.path)
        return ExecutorchSession(artifact, pte, method(pte, artifact.path, threads))


def method(pte: Pte, source: Any, threads: int) -> Any:
    """The loaded method, `executorch.runtime.Method`.

    Args:
        source: a path, or the bytes of a program.

    Raises:
        ConversionError: a kernel or a backend is not in this runtime, or the file needs data that
            lies elsewhere.
    """
    from executorch.extension.pybindings import portable_lib
    from executorch.runtime import Runtime

    runtime = Runtime.get()
    known = runtime.operator_registry.operator_names
    wanted = [f"{o.name}.{o.overload}" if o.overload else o.name for o in pte.plan.operators]
    missing = sorted(set(wanted) - set(known))
    if missing:
        raise ConversionError(
            f"ExecuTorch's runtime has no kernel for {', '.join(missing)}",
            hint="Take another format, or rewrite that part of the model.",
        )
    backends = {str(delegate.id) for delegate in pte.plan.delegates}
    absent = sorted(name for name in backends if not runtime.backend_registry.is_available(name))
    if absent:
        raise ConversionError(
            f"the file is for {', '.join(absent)}, which this machine's ExecuTorch does not have"
        )
    if threads > 0 and portable_lib._threadpool_get_thread_count() != threads:
        portable_lib._unsafe_reset_threadpool(threads)
    try:
        return runtime.load_program(source).load_method(pte.plan.name)
    except Exception as exc:
        raise ConversionError(f"ExecuTorch cannot load it: {_first_line(exc)}") from exc


class ExecutorchSession:
    """A loaded method; arrays go in and come out in the order of the artifact."""

    def __init__(self, artifact: Artifact, pte: Pte, loaded: Any) -> None:
        self._method = loaded
        self._pte = pte
        self._inputs = _places(artifact.inputs, pte.inputs)
        self._outputs = _places(artifact.outputs, pte.outputs)

    def run(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """One inference; see `Session`. bfloat16, which numpy lacks, comes out as float32.

        Raises:
            ConversionError: wrong number or shape of inputs, or a kernel fails.
        """
        import numpy as np
        import torch

        if len(inputs) != len(self._inputs):
            raise ConversionError(f"{len(self._inputs)} inputs are needed, {len(inputs)} given")
        placed: list[Any] = [None] * len(inputs)
        for place, array in zip(self._inputs, inputs, strict=True):
            placed[place] = torch.from_numpy(np.array(array, order="C"))
        results = execute(self._pte, self._method, placed)
        arrays = []
        for place in self._outputs:
            tensor = results[place]
            plain = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
            arrays.append(np.array(plain.contiguous().numpy()))
        return tuple(arrays)


def execute(pte: Pte, loaded: Any, given: Sequence[Any]) -> list[Any]:
    """One inference on tensors in the file's order.

    Raises:
        ConversionError: a shape does not fit, or a kernel fails.
    """
    import torch

    for spec, largest, tensor in zip(pte.inputs, pte.largest, given, strict=True):
        shape = tuple(tensor.shape)
        fits = len(shape) == len(largest) and all(
            have <= most if pte.dynamic and not isinstance(told, int) else have == most
            for have, most, told in zip(shape, largest, _open(spec, pte), strict=True)
        )
        if not fits:
            raise ConversionError(
                f"input {spec.name} is {_text(shape)}; the file has room for {_text(largest)}",
                hint=_ROOM if pte.dynamic else "",
            )
    tensors = iter(given)
    values = [pte.plan.values[place].val for place in pte.plan.inputs]
    flat = [next(tensors) if type(v).__name__ == "Tensor" else _constant(v) for v in values]
    try:
        results = loaded.execute(flat)
    except Exception as exc:
        raise ConversionError(
            f"ExecuTorch cannot run it: {_first_line(exc)}",
            hint="Its log names the kernel that failed.",
        ) from exc
    return [value for value in results if isinstance(value, torch.Tensor)]


def _open(spec: TensorSpec, pte: Pte) -> Sequence[Any]:
    """The described shape; where the file tells sizes only, any axis may be the open one."""
    told = any(not isinstance(d, int) for other in pte.inputs for d in other.shape)
    return spec.shape if told or not pte.dynamic else (None,) * len(spec.shape)


def _constant(value: Any) -> Any:
    """An input that was fixed when the program was exported."""
    fields = ("int_val", "bool_val", "double_val", "string_val")
    return next((getattr(value, name) for name in fields if hasattr(value, name)), None)


def _places(specs: Sequence[TensorSpec], found: Sequence[TensorSpec]) -> tuple[int, ...]:
    """For each spec its place in the file."""
    names = [spec.name for spec in found]
    if sorted(spec.name for spec in specs) != sorted(names):
        raise ConversionError(
            f"the file's tensors {names} are not those expected, {[s.name for s in specs]}"
        )
    return tuple(names.index(spec.name) for spec in specs)


def _text(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "a single number"


def _first_line(exc: BaseException) -> str:
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return (lines[0] if lines else type(exc).__name__)[:300]
