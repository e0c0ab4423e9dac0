"""Which tensors of two traces agree, and what that says of the graphs that they come from.

Tensors of two runtimes are told equal by their fingerprints, whatever they are called and however
their axes are ordered. Reference and candidate are called r and c in names of places.

numpy is imported inside the functions: the command line must start without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from convkit.nodes import Node, kinship
from convkit.numerics import sqnr_db
from convkit.sketches import ORDERS, Sketch


def agreement(reference: Sketch, candidate: Sketch) -> tuple[int, float]:
    """The order of axes in which two tensors of one size are to be compared, and the SQNR in dB:
    the order that the shapes tell, else the one in which they agree best."""
    ratios = [_ratio(reference, candidate, order) for order in range(ORDERS)]
    fitting = [o for o in range(ORDERS) if _shape(reference, o) == _plain(candidate.shape)]
    order = max(fitting or range(ORDERS), key=lambda o: (ratios[o], -o))
    return order, ratios[order]


def _ratio(reference: Sketch, candidate: Sketch, order: int) -> float:
    import numpy as np

    if reference.non_finite != candidate.non_finite:
        return float("-inf")
    error = float(np.square(reference.orders[order] - candidate.orders[0]).sum())
    return sqnr_db(reference.power, error)


def _plain(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(d for d in shape if d != 1)


def _shape(sketch: Sketch, order: int) -> tuple[int, ...]:
    shape = sketch.shape
    if order == 0 or len(shape) < 3:
        return _plain(shape)
    if order == 1:
        return _plain((shape[0], *shape[2:], shape[1]))
    return _plain((shape[0], shape[-1], *shape[1:-1]))


class Side:
    """One trace as a graph; sets of places are integers, one bit each."""

    def __init__(self, nodes: Sequence[Node], ends: Sequence[int]) -> None:
        self.nodes = nodes
        self.before: list[int] = []
        self.children: list[list[int]] = [[] for _ in nodes]
        for place, node in enumerate(nodes):
            ancestors = 0
            for parent in node.parents:
                ancestors |= self.before[parent] | 1 << parent
                self.children[parent].append(place)
            self.before.append(ancestors)
        self.ends = set(ends) or {i for i, c in enumerate(self.children) if not c}

    def open(self, sound: set[int]) -> list[int]:
        """Places from which a wrong output is reached without passing through a sound one."""
        found: set[int] = set()
        for place in reversed(range(len(self.nodes))):
            if place not in sound and (
                place in self.ends or any(c in found for c in self.children[place])
            ):
                found.add(place)
        return sorted(found)

    def frontiers(self, sound: set[int]) -> list[frozenset[int]]:
        """For each place the nearest sound ones before it."""
        found: list[frozenset[int]] = []
        for node in self.nodes:
            near = [frozenset((p,)) if p in sound else found[p] for p in node.parents]
            found.append(frozenset().union(*near))
        return found


class Overlap:
    """What agrees at one threshold."""

    def __init__(
        self,
        reference: Sequence[Node],
        candidate: Sequence[Node],
        wrong: Sequence[tuple[int | None, int | None]],
        threshold: float,
        doubted: frozenset[int] = frozenset(),
    ) -> None:
        self.traces = reference, candidate
        self.threshold = threshold
        self.wrong = wrong
        self.doubted = doubted
        self.r = Side(reference, [r for r, _ in wrong if r is not None])
        self.c = Side(candidate, [c for _, c in wrong if c is not None])
        self.r.ends |= doubted  # wrong as well, so what leads to them is open
        self.equals = _equal_tensors(reference, candidate, threshold)
        for one, other in self.known_outputs():  # their worst slice is wrong, so they are
            left = [c for c in self.equals.pop(one, []) if c != other]
            self.equals.update({one: left} if left else {})
        for place in doubted:
            self.equals.pop(place, None)
        self.equal_c = {c for found in self.equals.values() for c in found}

    def without(self, place: int) -> Overlap:
        """The same traces, where a tensor of the reference is held equal to nothing."""
        return Overlap(*self.traces, self.wrong, self.threshold, self.doubted | {place})

    @cached_property
    def told(self) -> Mapping[int, int]:
        """Equal tensors whose equality proves something, one to one: a value that occurs several
        times is paired by names, then by kind, then in order."""
        taken: set[int] = set()
        found: dict[int, int] = {}
        for r, equals in sorted(self.equals.items()):
            free = [c for c in equals if c not in taken]
            if free and self.r.nodes[r].sketch.telling:
                best = max(free, key=lambda c: (*kinship(self.r.nodes[r], self.c.nodes[c]), -c))
                taken.add(best)
                found[r] = best
        return found

    @cached_property
    def anchored(self) -> Mapping[int, int]:
        """Equal tensors whose equality alone proves nothing (all zeros), one to one: they are the
        same since they are computed from the same sound tensors.

        One that is anchored is an anchor for those after it, hence the rounds.
        """
        found: dict[int, int] = {}
        r_sound = {r for r in self.equals if self.r.nodes[r].sketch.telling}
        c_sound = {c for r in r_sound for c in self.equals[r]}
        waiting = sorted(self.equals.keys() - r_sound)
        while waiting:
            ours, theirs = self.r.frontiers(r_sound), self.c.frontiers(c_sound)
            fresh: dict[int, int] = {}
            for r in waiting:
                free = [c for c in self.equals[r] if c not in c_sound and c not in fresh.values()]
                same = [c for c in free if self._met(ours[r], theirs[c]) == 1.0]
                if same:
                    fresh[r] = max(
                        same, key=lambda c: (*kinship(self.r.nodes[r], self.c.nodes[c]), -c)
                    )
            if not fresh:
                break
            found.update(fresh)
            r_sound.update(fresh)
            c_sound.update(fresh.values())
            waiting = [r for r in waiting if r not in fresh]
        return found

    @cached_property
    def r_sound(self) -> set[int]:
        """Agrees, and its agreement proves something."""
        return {r for r in self.equals if self.r.nodes[r].sketch.telling} | self.anchored.keys()

    @cached_property
    def c_sound(self) -> set[int]:
        """See `r_sound`."""
        telling = (r for r in self.equals if self.r.nodes[r].sketch.telling)
        return {c for r in telling for c in self.equals[r]} | set(self.anchored.values())

    @cached_property
    def r_open(self) -> list[int]:
        """Agrees with nothing, and a wrong output comes of it."""
        return [r for r in self.r.open(self.r_sound) if r not in self.equals]

    @cached_property
    def c_open(self) -> list[int]:
        """See `r_open`."""
        return [c for c in self.c.open(self.c_sound) if c not in self.equal_c]

    @cached_property
    def r_doubtful(self) -> set[int]:
        """Agrees, but only with what another agrees with already, or without proving anything."""
        return self.equals.keys() - self.told.keys() - self.anchored.keys()

    @cached_property
    def r_frontiers(self) -> list[frozenset[int]]:
        """See `Side.frontiers`."""
        return self.r.frontiers(self.r_sound)

    @cached_property
    def c_frontiers(self) -> list[frozenset[int]]:
        """See `Side.frontiers`."""
        return self.c.frontiers(self.c_sound)

    @cached_property
    def c_first(self) -> list[int]:
        """Open places of the candidate with nothing open before them, but what later agrees."""
        settled = 0
        for c in self.told.values():
            settled |= self.c.before[c]
        firm = sum(1 << c for c in self.c_open if not settled >> c & 1)
        return [c for c in self.c_open if not self.c.before[c] & firm]

    def settled(self, without: int | None = None) -> int:
        """What something that agrees is computed from; but what depends on one place."""
        settled = 0
        for r in self.told:
            if without is None or not self.r.before[r] >> without & 1:
                settled |= self.r.before[r]
        return settled

    def nearness(self, r: int, c: int) -> float:
        """Share of common neighbours among the sound tensors before two places."""
        return self._met(self.r_frontiers[r], self.c_frontiers[c])

    def _met(self, ours: frozenset[int], theirs: frozenset[int]) -> float:
        """Share of the tensors of two sets that are equal."""
        if not ours and not theirs:
            return 1.0
        met = sum(1 for place in ours if theirs.intersection(self.equals[place]))
        return met / max(len(ours), len(theirs), 1)

    def agreement(self, r: int, c: int) -> tuple[int, float]:
        """See `agreement`, of two places."""
        return agreement(self.r.nodes[r].sketch, self.c.nodes[c].sketch)

    def known_outputs(self) -> list[tuple[int, int]]:
        """Wrong outputs of which both sides have a trace."""
        return [(r, c) for r, c in self.wrong if r is not None and c is not None]

    def same_size(self, r: int, c: int) -> bool:
        """Whether two tensors have as many values."""
        return self.r.nodes[r].sketch.size == self.c.nodes[c].sketch.size


def _equal_tensors(
    reference: Sequence[Node], candidate: Sequence[Node], threshold: float
) -> dict[int, list[int]]:
    """For each tensor of the reference those of the candidate that agree with it."""
    import numpy as np

    by_size: dict[int, list[int]] = {}
    for c, node in enumerate(candidate):
        by_size.setdefault(node.sketch.size, []).append(c)
    stacked = {
        size: np.stack([candidate[c].sketch.orders[0] for c in places])
        for size, places in by_size.items()
    }
    share = 10.0 ** (-threshold / 10.0)
    found: dict[int, list[int]] = {}
    for r, node in enumerate(reference):
        places = by_size.get(node.sketch.size, [])
        if not places:
            continue
        difference = node.sketch.orders[:, None, :] - stacked[node.sketch.size][None, :, :]
        error = np.square(difference).sum(axis=2).min(axis=0)
        allowed = share * node.sketch.power
        equals = [
            c
            for c, e in zip(places, error, strict=True)
            if e <= allowed and candidate[c].sketch.non_finite == node.sketch.non_finite
        ]
        if equals:
            found[r] = equals
    return found
