"""Run a program node by node and show what every layer computes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from convkit.errors import ConversionError
from convkit.plugin import TracedTensor

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


def trace_program(
    program: ExportedProgram, tensors: Sequence[torch.Tensor]
) -> Iterator[TracedTensor]:
    """Floating-point results of the graph's nodes in execution order, named as the inspector
    names layers. The program's own weights and buffers stay as they are.

    Args:
        tensors: one for each tensor input, in the program's order.
    """
    import torch

    from convkit_torch.layers import op_type, scope

    interpreter = torch.fx.Interpreter(program.graph_module)
    interpreter.args_iter = iter(_arguments(program, tensors))
    for node in interpreter.graph.nodes:
        if node.op == "output":
            return
        with torch.no_grad():
            result = interpreter.env[node] = interpreter.run_node(node)
        # Results of several tensors come out one by one, as nodes that pick them.
        if (
            node.op == "call_function"
            and isinstance(result, torch.Tensor)
            and result.is_floating_point()
        ):
            # A copy: later nodes may write into the same memory.
            value = result.detach().to("cpu", torch.float32, copy=True).numpy()
            yield TracedTensor(node.name, op_type(node.target), scope(node), value, node.name)
        for unused in interpreter.user_to_last_uses.get(node, ()):
            del interpreter.env[unused]


def _arguments(program: ExportedProgram, tensors: Sequence[torch.Tensor]) -> Iterator[Any]:
    """Values of the graph's placeholders: weights, buffers, constants and inputs."""
    import torch

    from convkit_torch.signature import input_slots

    given = {s.node: t for s, t in zip(input_slots(program), tensors, strict=True)}
    for spec in program.graph_signature.input_specs:
        if spec.kind.name == "USER_INPUT":
            name = getattr(spec.arg, "name", "")
            yield given[name] if name in given else getattr(spec.arg, "value", None)
            continue
        target = str(spec.target)
        stored = program.state_dict if target in program.state_dict else program.constants
        if target not in stored:
            raise ConversionError(f"the program's {target} is not in the file")
        value = stored[target]
        yield value.detach().clone() if isinstance(value, torch.Tensor) else value
