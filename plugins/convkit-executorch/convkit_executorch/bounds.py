"""The largest sizes that memory is planned for.

ExecuTorch asks the tracer's table of ranges. Heuristics of torch leave guards in it (a convolution
asks whether the batch is below 16, and the table says 15 from then on), though kernels of
ExecuTorch know no such limit, and the program itself states another one. So the table is set to
what the program states before memory is planned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.export import ExportedProgram


@dataclass(frozen=True)
class Bounds:
    """Symbol's name to its smallest and largest size."""

    ranges: Mapping[str, tuple[int, int]]

    @classmethod
    def of(cls, program: ExportedProgram, largest: int) -> Bounds:
        """What the program states; `largest` for an axis without a limit, or more where it cannot
        be that small."""
        from torch.utils._sympy.numbers import int_oo

        ranges = {}
        for symbol, stated in program.range_constraints.items():
            low = int(stated.lower)
            open_ended = stated.upper is int_oo or not stated.upper.is_finite
            ranges[str(symbol)] = (low, max(low, largest) if open_ended else int(stated.upper))
        return cls(ranges)

    def evaluation(self) -> Any:
        """The pass that ExecuTorch is to use for it, a `PassBase`."""
        import torch
        from executorch.exir.passes.sym_shape_eval_pass import ConstraintBasedSymShapeEvalPass
        from torch.utils import _pytree as pytree
        from torch.utils._sympy.value_ranges import ValueRanges

        ranges = self.ranges

        class StatedBounds(ConstraintBasedSymShapeEvalPass):  # type: ignore[misc]
            def call(self, graph_module: Any) -> Any:
                for environment in _environments(graph_module, torch, pytree):
                    for symbol in list(environment.var_to_range):
                        if str(symbol) in ranges:
                            environment.var_to_range[symbol] = ValueRanges(*ranges[str(symbol)])
                return super().call(graph_module)

        return StatedBounds()


def _environments(graph_module: Any, torch: Any, pytree: Any) -> list[Any]:
    """Of the symbols in the shapes of all nodes."""
    found: dict[int, Any] = {}
    for module in graph_module.modules():
        if not isinstance(module, torch.fx.GraphModule):
            continue
        for node in module.graph.nodes:
            for leaf in pytree.tree_leaves(node.meta.get("spec")):
                for size in (*getattr(leaf, "shape", ()), *getattr(leaf, "stride", ())):
                    if isinstance(size, torch.SymInt):
                        environment = size.node.shape_env
                        found[id(environment)] = environment
    return list(found.values())
