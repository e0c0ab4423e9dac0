"""A parsed `.pte` file, by ExecuTorch's own deserializer.

Everything is checked before the runtime gets to see the file: the flatbuffer with its segments,
and that the parts refer to what exists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convkit.errors import InputError
from convkit.plugin import TensorSpec
from convkit_executorch import tensors
from convkit_executorch.plugin import IDENTIFIER

FORWARD = "forward"

DTYPES = {
    "BYTE": "uint8",
    "CHAR": "int8",
    "SHORT": "int16",
    "INT": "int32",
    "LONG": "int64",
    "HALF": "float16",
    "FLOAT": "float32",
    "DOUBLE": "float64",
    "BOOL": "bool",
    "BFLOAT16": "bfloat16",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
}
"""ExecuTorch's scalar types as numpy calls them; others keep their own name in lower case."""


@dataclass(frozen=True)
class Pte:
    """A program, its segments read.

    Attributes:
        program: `executorch.exir.schema.Program`.
        plan: the method that computes, one of `program.execution_plan`.
        named: blobs by key, such as the weights of backends.
        inputs, outputs: specs of the plan's tensors, named as the file tells; open axes are symbols
            where the file says which they are, else they have their largest size.
        largest: of each input the shape that memory was planned for.
        dynamic: an input or an output has more than one size.
        names: what the values of the plan that come in and go out are called, by their place.
    """

    program: Any
    plan: Any
    named: Mapping[str, bytes]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    largest: tuple[tuple[int, ...], ...]
    dynamic: bool
    names: Mapping[int, str]


def load(path: Path) -> Pte:
    """Read and check a file.

    Raises:
        InputError: damaged, truncated, or no ExecuTorch program.
    """
    data = path.read_bytes() if path.is_file() else b""
    if data[4:8] != IDENTIFIER:
        raise InputError(
            f"{path.name} is not an ExecuTorch program" + ("" if data else " (it is empty)"),
            hint="Such files bear the letters ET12 at their fifth byte.",
        )
    try:
        return parse(data)
    except Exception as exc:  # the deserializer raises any type on damaged files
        raise InputError(
            f"{path.name} is damaged: {_first_line(exc)}", hint="Copy the file again."
        ) from exc


def parse(data: bytes) -> Pte:
    """Read the bytes of a file.

    Raises:
        Exception: of any type, where they are damaged.
    """
    from executorch.exir._serialize import _deserialize_pte_binary

    file = _deserialize_pte_binary(data)
    named = file.named_data
    blobs = (
        {key: named.buffers[entry.buffer_index] for key, entry in named.pte_data.items()}
        if named is not None
        else {}
    )
    plan = _computing(file.program)
    inputs = _specs(plan, plan.inputs, "input")
    outputs = _specs(plan, plan.outputs, "output")
    if not outputs:
        raise ValueError("no method returns a tensor")
    largest = tuple(tuple(d for d in spec.shape if isinstance(d, int)) for spec in inputs)
    told = _told(file.program)
    if told and tensors.agrees(told[0], inputs) and tensors.agrees(told[1], outputs):
        inputs, outputs = told
    dynamic = any(int(t.shape_dynamism) for t in _tensors(plan, (*plan.inputs, *plan.outputs)))
    places = [i for i in (*plan.inputs, *plan.outputs) if is_tensor(plan.values[i].val)]
    specs = (*inputs, *outputs)
    names = {i: spec.name for i, spec in reversed(tuple(zip(places, specs, strict=True)))}
    return Pte(file.program, plan, blobs, inputs, outputs, largest, dynamic, names)


def _computing(program: Any) -> Any:
    """`forward`, else the first method that does something."""
    plans = {plan.name: plan for plan in program.execution_plan}
    working = (p for p in program.execution_plan if any(c.instructions for c in p.chains))
    plan = plans.get(FORWARD) or next(working, None)
    if plan is None:
        raise ValueError("the program has no method that computes")
    return plan


def _told(program: Any) -> tensors.Specs | None:
    for plan in program.execution_plan:
        if plan.name == tensors.METHOD and len(plan.outputs) == 1:
            text = getattr(plan.values[plan.outputs[0]].val, "string_val", None)
            if isinstance(text, str):
                return tensors.from_text(text)
    return None


def _tensors(plan: Any, places: Any) -> list[Any]:
    found = [plan.values[place].val for place in places]
    return [value for value in found if is_tensor(value)]


def _specs(plan: Any, places: Any, kind: str) -> tuple[TensorSpec, ...]:
    values = _tensors(plan, places)
    return tuple(
        TensorSpec(f"{kind}_{i}", tuple(map(int, value.sizes)), dtype_of(value))
        for i, value in enumerate(values)
    )


def is_tensor(value: Any) -> bool:
    """Whether a value of a plan is a tensor."""
    return type(value).__name__ == "Tensor"


def is_constant(value: Any) -> bool:
    """Whether a tensor's data is in the file."""
    return is_tensor(value) and value.data_buffer_idx > 0 and value.allocation_info is None


def dtype_of(value: Any) -> str:
    """Of a tensor."""
    name = str(value.scalar_type.name)
    return DTYPES.get(name, name.lower())


def _first_line(exc: BaseException) -> str:
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return (lines[0] if lines else type(exc).__name__)[:300]
