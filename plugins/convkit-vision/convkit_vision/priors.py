"""Structures of detectors that are known to suffer from integers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from convkit.plugin import LayerInfo

_WORK = 0.005
"""An operator with less than this share of the arithmetic, such as the convolution that decodes a
distribution over distances, belongs to the decoding."""
_BRANCHES = 2


class DetectionHead:
    """The branches behind a detector's feature maps, with the decoding of boxes and scores.

    A branch is a chain of layers that ends in the decoding and begins at a tensor that other
    branches read as well. Branches for boxes and scores, at one or several scales, meet again only
    in the decoding, by which they are told from the rest.
    """

    name = "detection head"
    requirements: tuple[str, ...] = ()
    reason = "boxes in pixels and scores in 0..1 meet here"

    def find(self, layers: Sequence[LayerInfo], kind: Callable[[str], str]) -> Sequence[str]:
        """See `ExclusionRule.find`."""
        graph = _Graph(layers)
        decoding = graph.decoding()
        if not any(kind(x.op_type) == "concat" for x in layers if x.name in decoding):
            return ()
        ends = graph.before(decoding)
        branches = [graph.branch(end) for end in ends]
        if len(branches) < _BRANCHES or not all(branches):
            return ()
        found = decoding.union(*branches)
        return [layer.name for layer in layers if layer.name in found]


class _Graph:
    """Who writes and reads what."""

    def __init__(self, layers: Sequence[LayerInfo]) -> None:
        self._layers = layers
        self._writer = {name: layer for layer in layers for name in layer.outputs}
        self._readers: dict[str, list[LayerInfo]] = {}
        for layer in layers:
            for name in layer.inputs:
                self._readers.setdefault(name, []).append(layer)
        least = _WORK * sum(layer.macs for layer in layers)
        self._heavy = {layer.name for layer in layers if layer.macs > least}

    def decoding(self) -> set[str]:
        """Everything light from which only outputs follow."""
        found: set[str] = set()
        for layer in reversed(self._layers):
            behind = [r for name in layer.outputs for r in self._readers.get(name, ())]
            if layer.name not in self._heavy and all(r.name in found for r in behind):
                found.add(layer.name)
        return found

    def before(self, found: set[str]) -> list[LayerInfo]:
        """Those outside from which a set of layers reads, each once."""
        names: dict[str, LayerInfo] = {}
        for layer in self._layers:
            if layer.name in found:
                for name in layer.inputs:
                    writer = self._writer.get(name)
                    if writer is not None and writer.name not in found:
                        names[writer.name] = writer
        return list(names.values())

    def branch(self, end: LayerInfo) -> set[str]:
        """The chain that ends here, as far back as nobody outside reads from it."""
        found: set[str] = {end.name}
        front = [end]
        while front:
            here = front.pop()
            for name in here.inputs:
                writer = self._writer.get(name)
                if writer is None or writer.name in found:
                    continue
                readers = [r for n in writer.outputs for r in self._readers.get(n, ())]
                if sum(r.name in self._heavy for r in readers) > 1:
                    continue  # a feature map: another branch begins here too
                if all(r.name in found or self._leads_to(r, found) for r in readers):
                    found.add(writer.name)
                    front.append(writer)
        return found

    def _leads_to(self, layer: LayerInfo, found: set[str]) -> bool:
        """Whether a light layer, such as the gate of an activation, is read by these only."""
        behind = [r for name in layer.outputs for r in self._readers.get(name, ())]
        light = layer.name not in self._heavy
        return light and bool(behind) and all(r.name in found for r in behind)
