"""What is known to suffer from 8 bits, found by the structure of the graph and never by names.

Priors say where to look first; measurement decides. Kinds of operators are the common words of
`convkit.nodes.operator_kind`, so that one rule serves all formats.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from convkit.quant import LayerInfo

Kind = Callable[[str], str]

NORMS = frozenset(
    (
        "batchnorm layernorm layernormalization rmsnorm instancenorm groupnorm mvn"
        " instancenormalization groupnormalization rmsnormalization lpnormalization"
        " simplifiedlayernormalization"
    ).split()
)
_ROOTS = frozenset({"rsqrt", "sqrt"})
_BEFORE_ROOT = frozenset(
    "add mean reducemean squareddifference square pow power mul sub reducesum".split()
)
_BEHIND_ROOT = frozenset("mul div sub add".split())
_REACH = 4
"""A normalization that was taken apart has no more operators on one way through it."""


class OfKind:
    """Operators of certain kinds."""

    requirements: tuple[str, ...] = ()

    def __init__(self, name: str, kinds: Collection[str], reason: str) -> None:
        self.name, self.reason = name, reason
        self._kinds = kinds

    def find(self, layers: Sequence[LayerInfo], kind: Kind) -> Sequence[str]:
        """See `ExclusionRule.find`."""
        return [layer.name for layer in layers if kind(layer.op_type) in self._kinds]


class Normalizations:
    """Normalizations, in one operator or taken apart around a square root."""

    name = "normalizations"
    requirements: tuple[str, ...] = ()
    reason = "squares and means need more than 8 bits"

    def find(self, layers: Sequence[LayerInfo], kind: Kind) -> Sequence[str]:
        """See `ExclusionRule.find`."""
        found = {x.name for x in layers if kind(x.op_type) in NORMS}
        writer = {tensor: layer for layer in layers for tensor in layer.outputs}
        readers: dict[str, list[LayerInfo]] = {}
        for layer in layers:
            for tensor in layer.inputs:
                readers.setdefault(tensor, []).append(layer)

        def before(layer: LayerInfo) -> Iterable[LayerInfo]:
            return (writer[t] for t in layer.inputs if t in writer)

        def behind(layer: LayerInfo) -> Iterable[LayerInfo]:
            return (reader for t in layer.outputs for reader in readers.get(t, ()))

        for root in layers:
            if kind(root.op_type) in _ROOTS:
                found.add(root.name)
                for step, kinds in ((before, _BEFORE_ROOT), (behind, _BEHIND_ROOT)):
                    found |= _walk(root, step, kinds, kind)
        return [layer.name for layer in layers if layer.name in found]


class Embeddings:
    """Look-ups in tables of parameters."""

    name = "embeddings"
    requirements: tuple[str, ...] = ()
    reason = "tables of rows of very different size"

    def find(self, layers: Sequence[LayerInfo], kind: Kind) -> Sequence[str]:
        """See `ExclusionRule.find`."""
        return [x.name for x in layers if x.parameter_count and "gather" in _words(kind, x)]


class Edge:
    """The first or the last operator with multiply-accumulates."""

    requirements: tuple[str, ...] = ()

    def __init__(self, name: str, place: int, reason: str) -> None:
        self.name, self.reason = name, reason
        self._place = place

    def find(self, layers: Sequence[LayerInfo], kind: Kind) -> Sequence[str]:
        """See `ExclusionRule.find`."""
        weighted = [layer.name for layer in layers if layer.macs]
        return [weighted[self._place]] if weighted else []


RULES = (
    Normalizations(),
    OfKind("softmax", {"softmax", "logsoftmax"}, "attention's weights span many magnitudes"),
    Embeddings(),
    OfKind("concatenations", {"concat"}, "parts of different magnitude share one scale"),
    Edge("first layer", 0, "all that follows inherits its error"),
    Edge("last layer", -1, "its error reaches the output undamped"),
)


def _words(kind: Kind, layer: LayerInfo) -> tuple[str, ...]:
    name = kind(layer.op_type)
    return (name, "gather") if name.startswith(("gather", "embedding")) else (name,)


def _walk(
    root: LayerInfo,
    step: Callable[[LayerInfo], Iterable[LayerInfo]],
    kinds: Collection[str],
    kind: Kind,
) -> set[str]:
    """Operators of some kinds within reach that hold no multiply-accumulates."""
    found: set[str] = set()
    front = [root]
    for _ in range(_REACH):
        front = [
            layer
            for here in front
            for layer in step(here)
            if kind(layer.op_type) in kinds and not layer.macs and layer.name not in found
        ]
        found |= {layer.name for layer in front}
    return found
