"""What keeping layers in float costs, told from the graph alone.

The search must come to the same end in every run, so it goes by these prices; measured times are
for people, and for limits on time.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from convkit.quant import LayerInfo

CROSSING = 0.004
"""Price of a tensor that is brought from integers to float or back, as a share of a float
inference's time: two passes over memory beside a network's dozens of operators."""


@dataclass(frozen=True)
class Price:
    """Attributes:
    float_macs: share of the multiply-accumulates that run in float.
    islands: connected groups of float layers that touch integers.
    crossings: tensors that pass between the two.
    """

    float_macs: float
    islands: int
    crossings: int

    @property
    def cost(self) -> float:
        """Both in one number, comparable between choices of one model."""
        return self.float_macs + CROSSING * self.crossings


class Prices:
    """Prices of choices among one model's layers."""

    def __init__(self, layers: Sequence[LayerInfo], integer: Collection[str]) -> None:
        """`integer`: names of layers in integers when nothing is kept in float."""
        self._layers = layers
        self._integer = integer
        self._macs = sum(layer.macs for layer in layers) or 1
        self._writer = {name: layer for layer in layers for name in layer.outputs}

    def of(self, float_layers: Collection[str]) -> Price:
        """The price of keeping these layers in float."""
        kept = set(float_layers)
        in_float = {x.name for x in self._layers if x.name in kept or x.name not in self._integer}
        chosen = in_float & kept
        macs = sum(x.macs for x in self._layers if x.name in in_float)
        parent = {name: name for name in chosen}

        def root(name: str) -> str:
            while parent[name] != name:
                parent[name] = parent[parent[name]]
                name = parent[name]
            return name

        crossing: set[str] = set()
        touched: set[str] = set()
        for layer in self._layers:
            for tensor in layer.inputs:
                writer = self._writer.get(tensor)
                if writer is None:
                    continue
                a, b = writer.name, layer.name
                if a in parent and b in parent:
                    parent[root(a)] = root(b)
                elif (a in chosen) != (b in chosen) and (a in in_float) != (b in in_float):
                    crossing.add(tensor)
                    touched.add(a if a in chosen else b)
        islands = len({root(name) for name in touched})
        return Price(macs / self._macs, islands, len(crossing))
