"""Programs that remember: they change a buffer or an input of theirs when they run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from convkit.errors import ConversionError

if TYPE_CHECKING:
    from torch.export import ExportedProgram

HINT = (
    "Export the module in eval mode; where it must remember, hand the state in as an input and "
    "out as an output."
)


def remembered(program: ExportedProgram) -> tuple[str, ...]:
    """Names of the buffers and inputs that one run changes."""
    if not any(_is_in_place(node) for module in _graphs(program) for node in module.graph.nodes):
        return _declared(program)
    # In-place operators mostly work on intermediate values. torch's own functionalization follows
    # views and tells which of them reach a buffer or an input.
    return _declared(program.run_decompositions({}))


def is_stateful(program: ExportedProgram) -> bool:
    """Whether a second run may give something else than the first."""
    return bool(remembered(program))


def refuse_state(program: ExportedProgram) -> None:
    """A converted file would forget, or hand the state out where nobody expects it.

    Raises:
        ConversionError: the program is stateful.
    """
    names = remembered(program)
    if names:
        raise ConversionError(
            f"the model changes {', '.join(names[:3])} when it runs, which a converted file "
            "cannot remember",
            hint=HINT,
        )


def _declared(program: ExportedProgram) -> tuple[str, ...]:
    signature = program.graph_signature
    changed: list[Mapping[str, str]] = [
        signature.buffers_to_mutate,
        signature.user_inputs_to_mutate,
        getattr(signature, "parameters_to_mutate", {}),  # torch 2.9 and later
    ]
    return tuple(dict.fromkeys(str(name) for names in changed for name in names.values()))


def _graphs(program: ExportedProgram) -> list[Any]:
    import torch

    modules = program.graph_module.modules()
    return [module for module in modules if isinstance(module, torch.fx.GraphModule)]


def _is_in_place(node: Any) -> bool:
    import torch

    target = node.target
    return isinstance(target, torch._ops.OpOverload) and bool(target._schema.is_mutable)
