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
        self._sizes = sizes or {}
        work = {layer.name: self._work_of(layer) for layer in layers}
        macs = {layer.name: layer.macs for layer in layers}
        self._work, all_macs = sum(work.values()) or 1, sum(macs.values()) or 1
        slow = [layer.name for layer in layers if layer.name not in integer]
        self._slow = sum(macs[x] for x in slow) / all_macs, sum(work[x] for x in slow) / self._work
        self._own = {
            name: (macs[name] / all_macs, work[name] / self._work)
            for name in macs
            if name in integer
        }
        writers = {name: layer.name for layer in layers for name in layer.outputs}
        self._edges: dict[str, list[tuple[str, str, str]]] = {layer.name: [] for layer in layers}
        for layer in layers:
            for tensor in layer.inputs:
                writer = writers.get(tensor)
                if writer is not None:
                    for end in {writer, layer.name}:
                        self._edges[end].append((tensor, writer, layer.name))
        self._known: dict[frozenset[str], Price] = {}

    def of(self, float_layers: Collection[str]) -> Price:
        """The price of keeping these layers in float."""
        chosen = frozenset(self._edges.keys() & set(float_layers))
        if chosen not in self._known:
            self._known[chosen] = self._priced(chosen)
        return self._known[chosen]

    def _priced(self, chosen: frozenset[str]) -> Price:
        parent = {name: name for name in chosen}

        def root(name: str) -> str:
            while parent[name] != name:
                parent[name] = parent[parent[name]]
                name = parent[name]
            return name

        crossing: set[str] = set()
        touched: set[str] = set()
        for name in chosen:
            for tensor, writer, reader in self._edges[name]:
                other = reader if writer == name else writer
                if other in chosen:
                    parent[root(other)] = root(name)
                elif name in self._own and other in self._own:
                    crossing.add(tensor)
                    touched.add(name)
        macs, work = self._slow
        added = [self._own[name] for name in sorted(chosen) if name in self._own]
        return Price(
            macs + sum(share for share, _ in added),
            len({root(name) for name in touched}),
            work + sum(share for _, share in added) + self._conversions(crossing),
        )

    def _work_of(self, layer: LayerInfo) -> float:
        return layer.macs + ELEMENT * sum(self._sizes.get(name, 0) for name in layer.outputs)

    def _conversions(self, tensors: Iterable[str]) -> float:
        return sum(
            ELEMENT * self._sizes[name] / self._work if name in self._sizes else CROSSING
            for name in sorted(tensors)
        )
