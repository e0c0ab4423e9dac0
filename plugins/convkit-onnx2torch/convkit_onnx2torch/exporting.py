"""From an importer's fx graph module to an exported program with the model's own names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from convkit.errors import ConversionError

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from convkit_onnx2torch.preparing import Prepared

_LIMIT = "CONSTANT_NUMEL_LIMIT"
_LITERAL_INTEGERS = 4096
_LITERAL_FLOATS = 8
_BATCH = 2
_EXTENT = 64


def named(module: Any, prepared: Prepared) -> Any:
    """The module with the model's input names as arguments and a dictionary as its result.

    Raises:
        ValueError: the importer lost an input or an output.
    """
    graph = module.graph
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    if len(placeholders) != len(prepared.input_names):
        raise ValueError(f"{len(placeholders)} inputs of {len(prepared.input_names)} are left")
    for node, name in zip(placeholders, prepared.input_names.values(), strict=True):
        node.target = name
    (output,) = (node for node in graph.nodes if node.op == "output")
    results = output.args[0]
    results = list(results) if isinstance(results, list | tuple) else [results]
    if len(results) != len(prepared.output_names):
        raise ValueError(f"{len(results)} outputs of {len(prepared.output_names)} are left")
    with graph.inserting_before(output):
        # A call, since fx would hand out its own kind of dictionary for a literal one.
        keyed = dict(zip(prepared.output_names.values(), results, strict=True))
        output.args = (graph.call_function(dict, kwargs=keyed),)
    graph.lint()
    module.recompile()
    return module.eval().requires_grad_(False)


def export(module: Any, prepared: Prepared) -> ExportedProgram:
    """torch.export, with the open axes of the inputs kept open.

    Raises:
        Exception: of any type, where torch.export cannot follow the module.
    """
    import torch

    kinds = {v.name: v.type.tensor_type.elem_type for v in prepared.model.graph.input}
    examples, dynamic = {}, {}
    for name, shape in prepared.shapes.items():
        examples[name] = torch.zeros(_example(shape), dtype=_dtype(kinds[name]))
        axes = {axis for axis, d in enumerate(shape) if isinstance(d, str)}
        dynamic[name] = dict.fromkeys(axes, torch.export.Dim.DYNAMIC)
    with torch.no_grad(), _constants_known(module):
        program = torch.export.export(
            module, tuple(examples.values()), dynamic_shapes=dynamic, strict=False
        )
    # What was read from constants leaves nodes behind that nobody uses, and of some of them
    # (`unbind` of an empty list of axes) torch cannot read what it wrote.
    program.graph.eliminate_dead_code()
    program.graph_module.recompile()
    return program


def has_unknown_sizes(program: ExportedProgram) -> bool:
    """Whether some size follows from values, as that of a list of detections does."""
    return any(str(symbol).startswith("u") for symbol in program.range_constraints)


def _example(shape: tuple[int | str, ...]) -> list[int]:
    """Sizes to trace with: tracers special-case 0 and 1, and backbones halve images five times."""
    return [
        d if isinstance(d, int) else _BATCH if axis == 0 else _EXTENT
        for axis, d in enumerate(shape)
    ]


def _dtype(elem_type: int) -> Any:
    import onnx
    import torch

    name = onnx.helper.tensor_dtype_to_np_dtype(elem_type).name
    return getattr(torch, name)


@contextlib.contextmanager
def _constants_known(module: Any) -> Iterator[None]:
    """Let torch.export look into small constants.

    Importers read axes, shapes and scales from buffers when the module runs, and torch.export
    takes every buffer for something that may change. So they become literals here, and torch's
    own propagation of constants, which stops at one element, is allowed to go on.
    """
    import torch._subclasses.fake_tensor as fake
    import torch.fx.experimental.proxy_tensor as proxy

    for part in list(module.modules()):
        literals = {name: b for name, b in part.named_buffers(recurse=False) if _is_parameter(b)}
        if literals:
            for name in literals:
                delattr(part, name)
            kind = type(part)
            part.__class__ = type(
                kind.__name__, (kind,), {name: _literal(b) for name, b in literals.items()}
            )
    # A torch without the limit only exports fewer models.
    limits = {m: getattr(m, _LIMIT) for m in (fake, proxy) if hasattr(m, _LIMIT)}
    for owner in limits:
        setattr(owner, _LIMIT, _LITERAL_INTEGERS)
    try:
        yield
    finally:
        for owner, limit in limits.items():
            setattr(owner, _LIMIT, limit)


def _is_parameter(tensor: Any) -> bool:
    """Whether a constant may be an operator's parameter rather than a weight."""
    limit = _LITERAL_FLOATS if tensor.is_floating_point() else _LITERAL_INTEGERS
    return not tensor.is_complex() and tensor.numel() <= limit


def _literal(tensor: Any) -> property:
    import torch

    # `reshape` for empty tensors, whose nested lists do not say every axis.
    values, dtype, shape = tensor.flatten().tolist(), tensor.dtype, tuple(tensor.shape)
    if len(shape) <= 1 and values:
        whole = tensor.tolist()
        return property(lambda self: torch.tensor(whole, dtype=dtype))
    return property(lambda self: torch.tensor(values, dtype=dtype).reshape(shape))


Slots = Sequence[tuple[str, tuple[int | str | None, ...], str]]
"""Name, shape and dtype of each tensor, in the program's order."""


def slots(program: ExportedProgram) -> tuple[Slots, Slots]:
    """Inputs and outputs as the torch inspector will name them.

    Raises:
        ConversionError: an output of the model is not one tensor.
    """
    nodes = {node.name: node for node in program.graph.nodes}
    signature = program.graph_signature
    taken = [str(name) for name in signature.user_inputs]
    spec = program.call_spec.out_spec
    keys = [str(key) for key in (spec.context if spec is not None else ())]
    made = [str(name) for name in signature.user_outputs]
    if len(made) != len(keys):
        raise ConversionError(f"the importer made {len(made)} outputs of {len(keys)}")
    names = [f"output_{i}" if key in taken else key for i, key in enumerate(keys)]
    return (
        [_slot(name, nodes[name]) for name in taken],
        [_slot(name, nodes[node]) for name, node in zip(names, made, strict=True)],
    )


def _slot(name: str, node: Any) -> tuple[str, tuple[int | str | None, ...], str]:
    value = node.meta.get("val")
    if not hasattr(value, "shape"):
        raise ConversionError(f"{name} is no tensor in the program")
    shape = tuple(d if isinstance(d, int) else str(d).replace(" ", "") for d in value.shape)
    return name, shape, str(value.dtype).removeprefix("torch.")
