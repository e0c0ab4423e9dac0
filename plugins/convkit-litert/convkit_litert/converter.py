"""torch to TFLite by litert-torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convkit.errors import ConversionError
from convkit.plugin import (
    Artifact,
    ConverterBase,
    HopContext,
    Option,
    State,
    TensorSpec,
    TraitProvision,
    TraitRequirement,
)

if TYPE_CHECKING:
    from convkit_litert.model import Model, Port

_OTHER_ROADS = "Choose another road, for example --via tf-saved."
_NARROWED = {"int64": "int32", "uint64": "uint32", "float64": "float32"}


class TorchToTflite(ConverterBase):
    """An exported program to a float TFLite file; layout, names and order are kept.

    64-bit inputs and outputs become 32-bit ones. Symbolic dimensions become numbers, since
    litert-torch lowers few operators with symbolic shapes: `batch` for a leading one, the size
    that the program was exported with for the others.
    """

    name: str = "litert-torch.tflite"
    source: State = State("torch")
    target: State = State("tflite")
    requirements: tuple[str, ...] = ("litert-torch", "ai-edge-litert", "torch")
    loss: int = 0
    seconds: float = 30.0
    options: tuple[Option, ...] = (
        Option("batch", 1, "size given to a symbolic batch dimension", minimum=1),
    )
    requires: tuple[TraitRequirement, ...] = (
        TraitRequirement("container", one_of=("pt2",)),
        TraitRequirement("stateful", one_of=(False,)),
    )
    provides: tuple[TraitProvision, ...] = (
        TraitProvision("dynamic", value=False),
        TraitProvision("quantized_io", value=False),
    )

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, Any],
        context: HopContext,
    ) -> Artifact:
        """See `Converter.convert`. The torch inspector has checked beforehand that loading the
        archive runs no code."""
        context.progress("loading litert-torch", None)
        try:
            import litert_torch
            import torch
        except Exception as exc:
            raise ConversionError(f"litert-torch cannot be imported: {exc}") from exc
        if context.threads > 0:
            torch.set_num_threads(context.threads)

        from convkit_litert import naming, packing
        from convkit_litert.model import parse
        from convkit_litert.programs import traceable
        from convkit_litert.runner import interpreter

        program = _load(artifact.path)
        inputs, outputs = _names(artifact, program)
        context.progress("converting with litert-torch", None)
        try:
            args, kwargs = sample_inputs(program, int(options.get("batch", 1)))
            converted = litert_torch.convert(traceable(program), args, kwargs or None)
            data = converted.model_content()
        except Exception as exc:
            raise ConversionError(
                f"litert-torch cannot convert this program: {_first_line(exc)}",
                hint=_OTHER_ROADS,
            ) from exc
        context.progress("writing", None)
        model = packing.unpack(data)
        naming.rename(model, naming.module_paths(program), inputs, outputs)
        packed = packing.pack(model)
        result = parse(packed)
        _refuse_foreign(result)
        described = replace(
            artifact,
            path=output,
            state=self.target,
            inputs=_match(artifact.inputs, result.inputs()),
            outputs=_match(artifact.outputs, result.outputs()),
            traits={"dynamic": False, "quantized_io": False},
        )
        # litert-torch also writes operators that the runtime lacks (a sort, for example).
        interpreter(output.name, context.threads, model_content=packed)
        output.write_bytes(packed)
        return described


def _load(path: Path) -> Any:
    import torch

    try:
        return torch.export.load(str(path))
    except Exception as exc:
        raise ConversionError(
            f"torch cannot load {path.name}: {_first_line(exc)}",
            hint="Export it again with the installed version of torch.",
        ) from exc


def _names(artifact: Artifact, program: Any) -> tuple[list[str], list[str]]:
    """The source's names of inputs and outputs; the program's own where none are known."""
    signature = program.graph_signature
    inputs = [s.name for s in artifact.inputs] or [str(n) for n in signature.user_inputs]
    outputs = [s.name for s in artifact.outputs] or [str(n) for n in signature.user_outputs]
    return inputs, outputs


def sample_inputs(program: Any, batch: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and named inputs of fixed shapes to trace an exported program with.

    The program's own example inputs where it carries them and has no symbolic shapes, else
    zeros, which are valid ids, indices and masks too.
    """
    import torch
    from torch.utils import _pytree as pytree

    wanted = set(program.graph_signature.user_inputs)
    values = [
        node.meta["val"]
        for node in program.graph.nodes
        if node.op == "placeholder" and node.name in wanted
    ]
    symbolic = any(
        not isinstance(size, int)
        for value in values
        if isinstance(value, torch.Tensor)
        for size in value.shape
    )
    if program.example_inputs is not None and not symbolic:
        args, kwargs = program.example_inputs
        return tuple(args), dict(kwargs)
    sizes = _sizes(values, program, batch)
    leaves = [
        torch.zeros([sizes(size) for size in value.shape], dtype=value.dtype)
        if isinstance(value, torch.Tensor)
        else value
        for value in values
    ]
    args, kwargs = pytree.tree_unflatten(leaves, program.call_spec.in_spec)
    return tuple(args), dict(kwargs)


def _sizes(values: Sequence[Any], program: Any, batch: int) -> Callable[[Any], int]:
    """A function from a dimension, symbolic or not, to its number."""
    import torch

    tensors = [value for value in values if isinstance(value, torch.Tensor) and value.ndim]
    leading = {str(value.shape[0]) for value in tensors}
    ranges: dict[str, Any] = {str(s): bounds for s, bounds in program.range_constraints.items()}

    def size(dimension: Any) -> int:
        if isinstance(dimension, int):
            return dimension
        bounds = ranges.get(str(dimension))
        if str(dimension) in leading:
            if bounds is not None and not bounds.lower <= batch <= bounds.upper:
                raise ValueError(f"batch {batch} is outside of {bounds.lower}..{bounds.upper}")
            return batch
        if dimension.node.hint is not None:
            return int(dimension.node.hint)
        if bounds is None:
            raise ValueError(f"nothing is known about dimension {dimension}")
        return int(bounds.lower)

    return size


def _match(source: Sequence[TensorSpec], found: Sequence[Port]) -> tuple[TensorSpec, ...]:
    """The file's specs in the source's order, checked against the source's.

    Raises:
        ConversionError: if a tensor has another rank, size or type than in the source.
    """
    from convkit_litert.inspector import spec

    made_by_name = {port.name: spec(port) for port in found}
    if not source:
        return tuple(made_by_name.values())
    matched = []
    for wanted in source:
        # A name that the source uses twice was made unique in the file, in the same order.
        name = wanted.name if wanted.name in made_by_name else next(iter(made_by_name))
        made = made_by_name.pop(name)
        fits = len(made.shape) == len(wanted.shape) and all(
            not isinstance(size, int) or size == have
            for size, have in zip(wanted.shape, made.shape, strict=True)
        )
        if not fits or made.dtype != _NARROWED.get(wanted.dtype, wanted.dtype):
            raise ConversionError(
                f"{wanted.name} became {made.dtype}{list(made.shape)} instead of "
                f"{wanted.dtype}{list(wanted.shape)}",
                hint=_OTHER_ROADS,
            )
        matched.append(replace(made, layout=wanted.layout))
    return tuple(matched)


def _refuse_foreign(model: Model) -> None:
    foreign = sorted(
        {
            op.op_type.removeprefix("CUSTOM:")
            for graph in model.subgraphs
            for op in graph.operators
            if op.op_type.startswith("CUSTOM:")
        }
    )
    if foreign:
        raise ConversionError(
            f"the program needs operators that TFLite lacks: {', '.join(foreign)}",
            hint=_OTHER_ROADS,
        )


def _first_line(exc: BaseException) -> str:
    text = str(exc).strip() or type(exc).__name__
    return text.splitlines()[0][:300]
