"""Few `--exclude` and `--exclude-op` that name exactly the layers that are to stay in float.

The opposite of `convkit.engine.exclusions`: there patterns become layers, here layers patterns,
checked by the very matching that will read them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from convkit.engine.exclusions import AUTO, REGULAR, WILD, addresses, matcher
from convkit.quant import LayerInfo


@dataclass(frozen=True)
class Exclusion:
    """Attributes:
    patterns: each for an `--exclude` of its own.
    operators: each for an `--exclude-op`.
    """

    patterns: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Candidate:
    """Attributes:
    rank: what a reader understands best comes first: modules, types, names, globs and
        regular expressions.
    mask: the layers that it names, a bit each.
    """

    rank: int
    text: str
    mask: int

    @property
    def operator(self) -> bool:
        return self.rank == _TYPE


_MODULE, _TYPE, _NAME, _GLOB, _EXACT = range(5)

DEEPEST = 30
"""Modules inside modules that patterns are sought for; names from a file may nest without end."""


class Naming:
    """Finds patterns for sets of layers of one model."""

    def __init__(self, layers: Sequence[LayerInfo]) -> None:
        """
        Args:
            layers: all of the float artifact that the patterns will be matched against.
        """
        self._layers = layers
        self._places = {layer.name: place for place, layer in enumerate(layers)}
        self._addresses = [addresses(layer) for layer in layers]
        # Modules that hold others: a glob of one would be read as if it named these too.
        self._parents = {inner for layer in layers for inner in _above(layer.scope)}
        self._masks: dict[str, int] = {}
        self._known: dict[int, tuple[_Candidate, ...]] = {}
        self._types: dict[str, int] = {}
        for place, layer in enumerate(layers):
            kind = layer.op_type.lower()
            self._types[kind] = self._types.get(kind, 0) | 1 << place

    def of(self, names: Collection[str]) -> Exclusion:
        """What to exclude so that these layers stay in float, and no other one.

        Modules, types of operators and globs are taken where they name none but these layers, those
        first that name most (a greedy set cover, so the answer is short, not always the shortest).
        A name that is not among the layers is taken as it is. Where a layer is called like the
        module of another one, no pattern can tell them apart, and the other stays in float too.
        """
        wanted = 0
        for name in names:
            if name in self._places:
                wanted |= 1 << self._places[name]
        found = self._cover(wanted)
        strangers = tuple(dict.fromkeys(_literal(n) for n in names if n not in self._places))
        patterns = tuple(c.text for c in found if not c.operator)
        return Exclusion((*patterns, *strangers), tuple(c.text for c in found if c.operator))

    def _cover(self, wanted: int) -> list[_Candidate]:
        """Candidates whose layers together are the wanted ones, in the order of the model."""
        candidates = list(dict.fromkeys(self._candidates(wanted)))
        taken: list[_Candidate] = []
        missing = wanted
        while missing:
            best = min(
                candidates,
                key=lambda c: (-(c.mask & missing).bit_count(), c.rank, len(c.text), c.text),
            )
            taken.append(best)
            missing &= ~best.mask
        for candidate in sorted(taken, key=lambda c: c.mask.bit_count()):
            rest = 0
            for other in taken:
                rest |= other.mask if other is not candidate else 0
            if not candidate.mask & ~rest:
                taken.remove(candidate)
        return sorted(taken, key=lambda c: (c.mask & -c.mask, c.text))

    def _candidates(self, wanted: int) -> Iterator[_Candidate]:
        """Everything that names wanted layers only."""
        for place in range(len(self._layers)):
            if wanted >> place & 1:
                if place not in self._known:
                    self._known[place] = tuple(self._names_of(place))
                yield from (c for c in self._known[place] if not c.mask & ~wanted)

    def _names_of(self, place: int) -> Iterator[_Candidate]:
        """Everything that names a layer, alone or with others."""
        layer = self._layers[place]
        for rank, text in _ideas(layer, layer.scope in self._parents):
            mask = self._types[text.lower()] if rank == _TYPE else self._mask(text)
            # A glob for a single layer says less than the layer's name.
            if rank != _GLOB or mask.bit_count() > 1:
                yield _Candidate(rank, text, mask)
        # Always there, so that everything can be named: the whole name, as a glob.
        exact = f"[{layer.name[:1]}]{_escaped(layer.name[1:])}"
        yield _Candidate(_EXACT, exact, 1 << place)

    def _mask(self, pattern: str) -> int:
        """The layers that a pattern matches."""
        if pattern not in self._masks:
            matches = matcher(pattern)
            found = 0
            for place, known in enumerate(self._addresses):
                if any(map(matches, known)):
                    found |= 1 << place
            self._masks[pattern] = found
        return self._masks[pattern]


def _above(scope: str) -> Iterator[str]:
    """The modules that a module lies in."""
    parts = scope.split(".")
    for depth in range(1, min(len(parts), DEEPEST)):
        yield ".".join(parts[:depth])


def _ideas(layer: LayerInfo, parent: bool) -> Iterator[tuple[int, str]]:
    """Patterns that match a layer, with their ranks.

    Args:
        parent: its module holds other modules.
    """
    yield _NAME, _literal(layer.name)
    if layer.op_type:
        yield _TYPE, layer.op_type
    for path in (*_above(layer.scope), *_above(layer.name), layer.scope):
        if path:
            yield _MODULE, _literal(path)
    parts = layer.scope.split(".")
    if parent:
        yield _GLOB, f"{REGULAR}^{re.escape(layer.scope)}$"
    elif 1 < len(parts) < DEEPEST:
        yield _GLOB, f"*.{_escaped(parts[-1])}"
        for place in range(len(parts)):
            yield _GLOB, ".".join("*" if p == place else _escaped(x) for p, x in enumerate(parts))
    folders = layer.name.split("/")
    for depth in range(2 if folders[0] == "" else 1, min(len(folders), DEEPEST)):
        yield _GLOB, _escaped("/".join(folders[:depth])) + "/*"


def _literal(text: str) -> str:
    """A pattern that matches the text itself (and what lies inside of it)."""
    if text == AUTO or text.startswith(REGULAR):
        return f"[{text[0]}]{_escaped(text[1:])}"
    return _escaped(text)


def _escaped(text: str) -> str:
    """Signs of globs as themselves."""
    return "".join(f"[{sign}]" if sign in WILD else sign for sign in text)
