"""Programs without operators that write into their operands: a gradient belongs to a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convkit.errors import ConversionError

if TYPE_CHECKING:
    from torch.export import ExportedProgram

MOVERS = frozenset(
    f"aten.{name}"
    for name in (
        # the same values in another shape or order
        "alias clone contiguous detach dropout lift_fresh lift_fresh_copy flatten unflatten"
        " movedim permute ravel reshape reshape_as squeeze swapaxes t transpose unsafe_view"
        " _unsafe_view unsqueeze view view_as adjoint moveaxis numpy_T pixel_shuffle"
        " pixel_unshuffle channel_shuffle flip roll rot90 to _to_copy type_as feature_dropout"
        " alpha_dropout native_dropout"
        # some of them, or some of them several times
        " broadcast_to chunk diagonal expand expand_as gather index index_select narrow repeat"
        " repeat_interleave select slice split split_with_sizes take_along_dim tensor_split tile"
        " unbind unfold unsafe_chunk unsafe_split upsample_nearest1d upsample_nearest2d"
        " upsample_nearest3d max_pool1d max_pool2d max_pool3d adaptive_max_pool1d"
        " adaptive_max_pool2d adaptive_max_pool3d max_pool2d_with_indices"
    ).split()
)
"""Operators whose results hold values of their first operand only. What runtimes quantize behind
them has the operand's own scale, so that no further error arises."""


def functional(program: ExportedProgram) -> ExportedProgram:
    """The program itself where each write goes to a value that nothing else shares memory with:
    the result then simply takes the operand's place. Else torch's functional form of it, whose
    nodes have other names (`from_node` in their metadata tells the old ones).

    Raises:
        ConversionError: torch finds no such form.
    """
    if all(is_plain_write(node) for node in program.graph.nodes if _writes(node)):
        return program
    from convkit_torch.reading import first_line

    try:
        rewritten: ExportedProgram = program.run_decompositions({})
    except Exception as exc:  # decompositions raise any type
        raise ConversionError(
            f"the program writes into its own values and cannot be rewritten: {first_line(exc)}"
        ) from exc
    return rewritten


def is_plain_write(node: Any) -> bool:
    """Whether a node is an in-place operator that `functional_target` may replace."""
    if not _writes(node) or functional_target(node) is None or node.op != "call_function":
        return False
    written, users = node.args[0], list(node.args[0].users)
    while written.op == "call_function" and _writes(written):
        written = written.args[0]
        users += written.users
    if written.op != "call_function" or _shares(written):
        return False
    return not any(user < node and _shares(user) for user in users)


def functional_target(node: Any) -> Any:
    """`aten.relu.default` for a call of `aten.relu_.default`; None where there is no such."""
    import torch

    space, _, name = node.target._schema.name.partition("::")
    if not name.endswith("_") or not node.args or len(_written(node)) != 1:
        return None
    packet = getattr(getattr(torch.ops, space), name[:-1], None)
    overload = node.target._overloadname
    return getattr(packet, overload, None) if packet is not None else None


def _written(node: Any) -> list[Any]:
    arguments = node.target._schema.arguments
    return [a for a in arguments if a.alias_info is not None and a.alias_info.is_write]


def _writes(node: Any) -> bool:
    import torch

    return isinstance(node.target, torch._ops.OpOverload) and bool(_written(node))


def _shares(node: Any) -> bool:
    """Whether a result may lie in the memory of an operand that it did not write into."""
    import torch

    if not isinstance(node.target, torch._ops.OpOverload):
        return True
    schema = node.target._schema
    if schema.is_mutable:
        return False
    named = f"aten.{schema.name.rpartition('::')[2]}" in MOVERS
    return named or any(r.alias_info is not None for r in schema.returns)
