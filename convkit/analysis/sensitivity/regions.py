"""Proposals of what to keep in float together, found by structure and never by a layer's name.

Errors interact, and a tensor escapes quantization only with everything around it: so proposals are
contiguous stretches of the graph and modules of the source, besides single layers.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from convkit.engine.recipes import heavy, output_island
from convkit.nodes import operator_kind
from convkit.plugin.ranking import ExclusionRule
from convkit.quant import LayerInfo
from convkit.sensitivity import Region, RegionKind

MOST_FLOAT = 0.5
"""A region with a larger share of the multiply-accumulates leaves too little to quantize."""
ALL_STRETCHES = 48
"""Up to so many segments every stretch is proposed; of more, those of the lengths below."""
LENGTHS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128)
LIGHT = "all but the heavy operators"
_ACTIVATIONS = frozenset(
    {
        "sigmoid",
        "relu",
        "gelu",
        "mul",
        "hardswish",
        "hardsigmoid",
        "tanh",
        "leakyrelu",
        "prelu",
        "elu",
        "swish",
        "silu",
        "mish",
        "clip",
        "clamp",
        "erf",
        "softplus",
        "add",
        "identity",
        "div",
        "minimum",
        "maximum",
    }
)


def propose(
    layers: Sequence[LayerInfo],
    integer: Collection[str],
    rules: Iterable[ExclusionRule] = (),
) -> tuple[Region, ...]:
    """All regions, each set of layers once; the first that proposes it names it.

    Args:
        layers: of the float model, in execution order.
        integer: names of those that compute in integers when nothing is kept in float; a region
            without any changes nothing.
        rules: priors.
    """
    macs = sum(layer.macs for layer in layers) or 1
    order = {layer.name: place for place, layer in enumerate(layers)}
    by_name = {layer.name: layer for layer in layers}
    found: dict[frozenset[str], Region] = {}
    names: set[str] = set()
    for title, kind, members, reason in _all(layers, rules):
        key = frozenset(name for name in members if name in by_name)
        share = sum(by_name[m].macs for m in key) / macs
        if key in found or share > MOST_FLOAT or not any(m in integer for m in key):
            continue
        if len(key) == len(layers):
            continue
        unique = next(t for t in _titles(title) if t not in names)
        names.add(unique)
        ordered = tuple(sorted(key, key=order.__getitem__))
        found[key] = Region(unique, kind, ordered, reason)
    return tuple(found.values())


def segments(layers: Sequence[LayerInfo]) -> tuple[tuple[str, ...], ...]:
    """The model cut before each operator with multiply-accumulates, in execution order."""
    cuts: list[list[str]] = [[]]
    seen = False
    for layer in layers:
        if layer.macs and seen:
            cuts.append([])
        seen = seen or layer.macs > 0
        cuts[-1].append(layer.name)
    return tuple(tuple(cut) for cut in cuts if cut)


_Proposal = tuple[str, RegionKind, Iterable[str], str]


def _all(layers: Sequence[LayerInfo], rules: Iterable[ExclusionRule]) -> Iterator[_Proposal]:
    island = output_island(layers)
    if island:
        yield "output", "output", island, "everything behind the last heavy operator"
    yield from _kinds(layers, rules)
    yield from _modules(layers)
    yield from _singles(layers)
    yield from _stretches(layers)


def _kinds(layers: Sequence[LayerInfo], rules: Iterable[ExclusionRule]) -> Iterator[_Proposal]:
    """What the plugins know to suffer."""
    work = heavy(layers)
    light = [layer.name for layer in layers if layer.name not in work]
    yield (
        LIGHT,
        "kind",
        light,
        "only the operators that hold the multiply-accumulates are worth integers here",
    )
    for rule in rules:
        yield rule.name, "kind", rule.find(layers, operator_kind), rule.reason


def _modules(layers: Sequence[LayerInfo]) -> Iterator[_Proposal]:
    """Modules of the source, the largest first."""
    members: dict[str, list[str]] = {}
    for layer in layers:
        parts = layer.scope.split(".") if layer.scope else []
        for depth in range(1, len(parts) + 1):
            members.setdefault(".".join(parts[:depth]), []).append(layer.name)
    for scope, names in sorted(members.items(), key=lambda item: (-len(item[1]), item[0])):
        yield scope, "module", names, "a module of the source"


def _singles(layers: Sequence[LayerInfo]) -> Iterator[_Proposal]:
    """Each operator with weights or multiplications, with the activation behind it."""
    readers: dict[str, list[LayerInfo]] = {}
    for layer in layers:
        for name in layer.inputs:
            readers.setdefault(name, []).append(layer)
    for layer in layers:
        if not layer.macs and not layer.parameter_count:
            continue
        members = [layer.name]
        front = list(layer.outputs)
        while front:
            following = readers.get(front.pop(), [])
            for reader in following:
                kind = operator_kind(reader.op_type)
                if kind in _ACTIVATIONS and not reader.macs and reader.name not in members:
                    members.append(reader.name)
                    front += reader.outputs if kind != "add" else ()
        yield layer.scope or layer.name, "layer", members, "a layer with its activation"


def _stretches(layers: Sequence[LayerInfo]) -> Iterator[_Proposal]:
    """Consecutive segments."""
    cuts = segments(layers)
    scopes = {layer.name: layer.scope for layer in layers}
    count = len(cuts)
    lengths = range(1, count) if count <= ALL_STRETCHES else [n for n in LENGTHS if n < count]
    for length in lengths:
        for start in range(count - length + 1):
            chosen = cuts[start : start + length]
            members = list(itertools.chain.from_iterable(chosen))
            first, last = _called(chosen[0], scopes), _called(chosen[-1][::-1], scopes)
            name = f"{first} to {last}" if first != last else first
            yield name, "stretch", members, f"{length} consecutive operators with their activations"


def _called(segment: Sequence[str], scopes: Mapping[str, str]) -> str:
    """A segment by the first of its layers whose module is known."""
    return next((scopes[name] for name in segment if scopes[name]), segment[0])


def _titles(name: str) -> Iterator[str]:
    yield name
    for number in itertools.count(2):
        yield f"{name} ({number})"
