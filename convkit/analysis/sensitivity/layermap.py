"""The same layers in another form of a model: told by what they compute.

A ranker looks at a differentiable form, the quantizer at the float model of the target's format.
Tensors of the two that carry the same values, whatever they are called and however their axes are
ordered, are the same tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from convkit.nodes import Node
from convkit.overlaps import Overlap
from convkit.quant import LayerInfo

SAME_DB = 60.0
"""Two runtimes in float32 agree better than that layer by layer."""


@dataclass(frozen=True)
class LayerMap:
    """Attributes:
    tensors: place of a tensor in the ranked form to the name of the target's tensor.
    layers: place of a weighted tensor in the ranked form to the target's layer that holds its
        weights.
    """

    tensors: Mapping[int, str]
    layers: Mapping[int, str]


def layer_map(
    ranked: Sequence[Node],
    weighted: Sequence[bool],
    traced: Sequence[Node],
    layers: Sequence[LayerInfo],
) -> LayerMap:
    """Map a ranked form to a target's float model.

    Args:
        ranked: the tensors of the ranking.
        weighted: which of them are computed with weights.
        traced: the tensors of the target's float model.
        layers: of the target's float model.
    """
    overlap = Overlap(ranked, traced, (), SAME_DB)
    pairs = {**overlap.anchored, **overlap.told}
    tensors = {place: traced[other].tensor for place, other in pairs.items()}
    producer = {name: layer for layer in layers for name in layer.outputs}
    children: list[list[int]] = [[] for _ in ranked]
    for place, node in enumerate(ranked):
        for parent in node.parents:
            children[parent].append(place)
    found: dict[int, str] = {}
    taken: set[str] = set()
    for place, has_weights in enumerate(weighted):
        if has_weights:
            layer = _holder(place, tensors, producer, children, taken)
            if layer is not None:
                found[place] = layer
                taken.add(layer)
    return LayerMap(tensors, found)


def columns(
    found: LayerMap, activations: Any, weights: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The columns of a ranking by the target's tensors, and by its layers."""
    tensors = {name: activations[:, place] for place, name in found.tensors.items()}
    layers: dict[str, Any] = {}
    for place, name in found.layers.items():
        layers[name] = layers[name] + weights[:, place] if name in layers else weights[:, place]
    return tensors, layers


def _holder(
    place: int,
    tensors: Mapping[int, str],
    producer: Mapping[str, LayerInfo],
    children: Sequence[Sequence[int]],
    taken: set[str],
) -> str | None:
    """The target's layer that holds the weights by which a tensor is computed.

    It may be the one that writes the same tensor; one before it, where the target adds the bias on
    its own; or one behind it, where a convolution is computed in one with the normalization and the
    activation that follow.
    """
    known = set(tensors.values())
    front, seen = [place], {place}
    while front:
        following: list[int] = []
        for here in front:
            layer = producer.get(tensors.get(here, ""))
            if layer is not None:
                free = [x for x in _cluster(layer, producer, known) if x.name not in taken]
                if free:
                    return max(free, key=lambda x: (x.macs, x.parameter_count)).name
            if layer is None or here == place:
                following += [c for c in children[here] if c not in seen]
        seen.update(following)
        front = following
    return None


def _cluster(
    layer: LayerInfo, producer: Mapping[str, LayerInfo], known: set[str]
) -> list[LayerInfo]:
    """A layer and those before it that are only steps on the way to its result, as far as they hold
    parameters."""
    found, front = [], [layer]
    while front:
        here = front.pop()
        if here.parameter_count:
            found.append(here)
        for name in here.inputs:
            before = producer.get(name)
            if before is not None and name not in known:
                front.append(before)
    return found
