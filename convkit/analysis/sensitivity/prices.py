"""What keeping layers in float costs, told from the graph alone.

The search must come to the same end in every run, so it goes by these prices; measured times are
for people, and for limits on time.

An operator's work is its multiply-accumulates and its passes over memory: activations, sums and
conversions between integers and float have none of the former, and are no less than half of many
networks' time once the convolutions are in integers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from convkit.quant import LayerInfo

ELEMENT = 32
"""Multiply-accumulates in the time that it takes to compute, read or write one element of float32
on its own: vectors of 8 or 16 multiply-accumulates are done in the time of one transcendental
function, or of one number that comes from memory."""
CROSSING = 0.004
"""Price of a tensor that is brought from integers to float or back, as a share of a float
inference's time, where sizes are not known."""


@dataclass(frozen=True)
class Price:
    """Attributes:
    float_macs: share of the multiply-accumulates that run in float.
    islands: connected groups of float layers that touch integers.
    cost: share of the float model's work that is done in float, conversions included; comparable
        between choices of one model.
    """

    float_macs: float
    islands: int
    cost: float


class Prices:
    """Prices of choices among one model's layers."""

    def __init__(
        self,
        layers: Sequence[LayerInfo],
        integer: Collection[str],
        sizes: Mapping[str, int] | None = None,
    ) -> None:
        """
        Args:
            integer: names of layers in integers when nothing is kept in float.
            sizes: tensor name to number of elements, as far as known.
        """
        self._layers = layers
        self._integer = integer
        self._sizes = sizes or {}
        self._macs = sum(layer.macs for layer in layers) or 1
        self._work = sum(map(self._work_of, layers)) or 1
        self._writer = {name: layer for layer in layers for name in layer.outputs}

    def of(self, float_layers: Collection[str]) -> Price:
        """The price of keeping these layers in float."""
        kept = set(float_layers)
        in_float = {x.name for x in self._layers if x.name in kept or x.name not in self._integer}
        chosen = in_float & kept
        slow = [x for x in self._layers if x.name in in_float]
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
        return Price(
            sum(x.macs for x in slow) / self._macs,
            len({root(name) for name in touched}),
            sum(map(self._work_of, slow)) / self._work + self._conversions(crossing),
        )

    def _work_of(self, layer: LayerInfo) -> float:
        return layer.macs + ELEMENT * sum(self._sizes.get(name, 0) for name in layer.outputs)

    def _conversions(self, tensors: Iterable[str]) -> float:
        return sum(
            ELEMENT * self._sizes[name] / self._work if name in self._sizes else CROSSING
            for name in tensors
        )
