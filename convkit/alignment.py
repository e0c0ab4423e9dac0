"""Two traces of one model, held against each other: which layer is the first that differs.

Tensors of two runtimes are told equal by their fingerprints, whatever they are called and however
their axes are ordered. What is left over on one side only is not yet a fault: a runtime may have
folded a layer into the next, or taken one apart. A layer is suspected only if its effect reaches a
wrong output without passing through anything that agrees.

numpy is imported inside the functions: the command line must start without it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from convkit.nodes import Node, kinship
from convkit.numerics import sqnr_db
from convkit.sketches import ORDERS, Sketch

WINDOW = 12
"""So many layers are considered as one that was folded, or taken apart, at most."""
CEILING = 140.0
"""dB; about what float32 can tell apart. Better agreement is no better."""
GAP = 0.5
"""What it costs to leave out a tensor when sequences of wrong tensors are aligned; a pair gains
up to 2.5 by its numbers."""
_NEAR = 0.02
"""Bounds of values closer than this share of the range come from the same activation function."""


@dataclass(frozen=True)
class Finding:
    """Where two traces part, as places in them.

    Attributes:
        first: the first diverging layer of the reference.
        compared: the layer of the reference whose output was compared: `first`, or a later one
            that the candidate computes in one with it.
        candidate: what it was compared with, None where nothing answers to it.
        order: the order of axes of the reference in which the two were compared.
        sqnr_db: of the candidate.
        members: layers from `first` to `compared`, both included.
        last_good: the nearest layer before, whose output agrees.
    """

    first: int
    compared: int
    candidate: int | None
    order: int
    sqnr_db: float
    members: tuple[int, ...]
    last_good: int | None


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


def divergence(
    reference: Sequence[Node],
    candidate: Sequence[Node],
    wrong: Sequence[tuple[int | None, int | None]],
    *,
    target_db: float,
    floor_db: float,
) -> Finding | None:
    """The first diverging layer.

    Where rounding alone already ate up the target, and a later layer falls below the floor, the
    one with the greater fall is named.

    Args:
        wrong: for each wrong output its place in both traces, None where it is not known.
        target_db, floor_db: agreement that the precision is expected to keep, and must keep.

    Returns:
        None where all layers agree.
    """
    fine = _Search(reference, candidate, wrong, target_db).run()
    if fine is None or fine.sqnr_db < floor_db:
        return fine
    coarse = _Search(reference, candidate, wrong, floor_db).run()
    if coarse is None or coarse.candidate is None or coarse.first == fine.first:
        return fine
    falls = [
        _agreement_before(reference, candidate, f) - max(f.sqnr_db, 0.0) for f in (fine, coarse)
    ]
    return coarse if falls[1] > falls[0] else fine


def _agreement_before(
    reference: Sequence[Node], candidate: Sequence[Node], finding: Finding
) -> float:
    """How well the last good layer agrees."""
    if finding.last_good is None:
        return CEILING
    sketch = reference[finding.last_good].sketch
    best = max(
        agreement(sketch, node.sketch)[1] for node in candidate if node.sketch.size == sketch.size
    )
    return min(best, CEILING)


class _Side:
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


class _Search:
    """The search at one threshold.

    Reference and candidate are called r and c in names of places.
    """

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
        self.r = _Side(reference, [r for r, _ in wrong if r is not None])
        self.c = _Side(candidate, [c for _, c in wrong if c is not None])
        self.r.ends |= doubted  # wrong as well, so what leads to them is open
        self.equals = _equal_tensors(reference, candidate, threshold)
        for one, other in self._known_outputs():  # their worst slice is wrong, so they are
            left = [c for c in self.equals.pop(one, []) if c != other]
            self.equals.update({one: left} if left else {})
        for place in doubted:
            self.equals.pop(place, None)
        self.equal_c = {c for found in self.equals.values() for c in found}

    def run(self) -> Finding | None:
        first = self._first()
        if first is None:
            return self._at_an_output()
        if first in self.equals:  # what it was held equal to is something else: judge anew
            return _Search(*self.traces, self.wrong, self.threshold, self.doubted | {first}).run()
        pair = self._counterpart(first)
        compared, other = pair if pair is not None else (first, None)
        order, ratio = (0, float("-inf")) if other is None else self._agreement(compared, other)
        inside = self.r.before[compared] | 1 << compared
        members = tuple(
            place
            for place in self.r_open
            if inside >> place & 1 and (place == first or self.r.before[place] >> first & 1)
        )
        good = max(self.r_frontiers[first], default=None)
        return Finding(first, compared, other, order, ratio, members or (first,), good)

    def _agreement(self, r: int, c: int) -> tuple[int, float]:
        return agreement(self.r.nodes[r].sketch, self.c.nodes[c].sketch)

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
        telling = (r for r in self.equals if self.r.nodes[r].sketch.telling)
        return {c for r in telling for c in self.equals[r]} | set(self.anchored.values())

    @cached_property
    def r_open(self) -> list[int]:
        return [r for r in self.r.open(self.r_sound) if r not in self.equals]

    @cached_property
    def c_open(self) -> list[int]:
        return [c for c in self.c.open(self.c_sound) if c not in self.equal_c]

    @cached_property
    def r_doubtful(self) -> set[int]:
        """Agrees, but only with what another agrees with already, or without proving anything."""
        return self.equals.keys() - self.told.keys() - self.anchored.keys()

    @cached_property
    def r_frontiers(self) -> list[frozenset[int]]:
        return self.r.frontiers(self.r_sound)

    @cached_property
    def c_frontiers(self) -> list[frozenset[int]]:
        return self.c.frontiers(self.c_sound)

    @cached_property
    def c_first(self) -> list[int]:
        """Open places of the candidate with nothing open before them, but what later agrees."""
        settled = 0
        for c in self.told.values():
            settled |= self.c.before[c]
        firm = sum(1 << c for c in self.c_open if not settled >> c & 1)
        return [c for c in self.c_open if not self.c.before[c] & firm]

    def _first(self) -> int | None:
        """The first layer that no later agreement clears.

        A layer that agrees only with what another has already (an identity, a rectifier of
        positive numbers), or that proves nothing (all zeros), is suspected where the candidate has
        a wrong tensor in its very place.
        """
        settled = self._settled()
        relevant = 0
        for end in self.r.ends:
            relevant |= self.r.before[end] | 1 << end
        open_r = set(self.r_open)
        for r in range(len(self.r.nodes)):
            if not relevant >> r & 1:
                continue
            if r in open_r and not settled >> r & 1:
                return r
            if r in self.doubted or ((r in open_r or r in self.r_doubtful) and self._replaced(r)):
                return r if r in self.equals else self._origin(r)
        return None

    def _settled(self, without: int | None = None) -> int:
        """What something that agrees is computed from; but what depends on one place."""
        settled = 0
        for r in self.told:
            if without is None or not self.r.before[r] >> without & 1:
                settled |= self.r.before[r]
        return settled

    def _origin(self, r: int) -> int:
        """The first of the layers that the candidate computes in one with a wrong one.

        What agrees after the wrong one (the fault is swallowed there) clears nothing before it.
        """
        settled = self._settled(without=r)
        inside = (a for a in self.r_open if self.r.before[r] >> a & 1 and not settled >> a & 1)
        return min(inside, default=r)

    def _replaced(self, r: int) -> bool:
        """Whether the candidate has a wrong tensor just where this one should be."""
        if not any(
            self._size(r, self.r) == self._size(c, self.c) and self._nearness(r, c) > 0
            for c in self.c_first
        ):
            return False
        pair = self._best_pair(self._following(r, self.r_doubtful))
        return pair is not None and pair[0] == r and self._nearness(*pair) > 0

    def _nearness(self, r: int, c: int) -> float:
        """Share of common neighbours among the sound tensors before two places."""
        return self._met(self.r_frontiers[r], self.c_frontiers[c])

    def _met(self, ours: frozenset[int], theirs: frozenset[int]) -> float:
        """Share of the tensors of two sets that are equal."""
        if not ours and not theirs:
            return 1.0
        met = sum(1 for place in ours if theirs.intersection(self.equals[place]))
        return met / max(len(ours), len(theirs), 1)

    def _counterpart(self, first: int) -> tuple[int, int] | None:
        """The tensors at which the difference can be shown: the first layer's own output, or that
        of a later one which the candidate computes in one with it.

        What follows a fault is wrong on both sides, so equality no longer tells what belongs
        together. The two sequences of wrong tensors are aligned like strings; the first pair of
        the best alignment is the answer.
        """
        ours = self._following(first)
        pair = self._best_pair(ours)
        if pair is not None:
            return pair
        for r in ours:
            for c in self.c_open:
                if self._comparable(r, c):
                    return r, c
        return next((pair for pair in self._known_outputs() if pair[0] in ours), None)

    def _following(self, first: int, further: Collection[int] = ()) -> list[int]:
        """A place of the reference, and the open (and further) ones that depend on it."""
        places = sorted({*self.r_open, *further})
        return [first, *(r for r in places if self.r.before[r] >> first & 1)]

    def _best_pair(self, ours: Sequence[int]) -> tuple[int, int] | None:
        """The first pair of the best alignment with what is wrong in the candidate."""
        best: tuple[float, int, int] | None = None
        for start in self.c_first[:WINDOW]:
            theirs = [start, *(c for c in self.c_open if self.c.before[c] >> start & 1)]
            found = self._aligned(ours[:WINDOW], theirs[:WINDOW])
            if found is not None:
                score = found[0] + self._nearness(ours[0], start)
                if best is None or score > best[0]:
                    best = (score, found[1], found[2])
        return best[1:] if best is not None else None

    def _aligned(self, ours: Sequence[int], theirs: Sequence[int]) -> tuple[float, int, int] | None:
        """The score of the best alignment of two sequences, and its first pair. What is left over
        at the ends costs nothing, since the sequences are cut off there."""
        table: dict[tuple[int, int], tuple[float, tuple[int, int] | None]] = {}
        nothing: tuple[float, tuple[int, int] | None] = (0.0, None)
        gaps = [self._gap(r) for r in ours]
        for i in reversed(range(len(ours))):
            for j in reversed(range(len(theirs))):
                skip_r = table.get((i + 1, j), nothing)
                skip_c = table.get((i, j + 1), nothing)
                options = [
                    nothing,
                    (skip_r[0] - gaps[i], skip_r[1]),
                    (skip_c[0] - GAP, skip_c[1]),
                ]
                r, c = ours[i], theirs[j]
                if self._comparable(r, c):
                    after = table.get((i + 1, j + 1), nothing)
                    options.insert(0, (after[0] + self._likeness(r, c), (r, c)))
                # of equals the first, so a pair rather than a gap: identical tensors make ties
                table[i, j] = max(options, key=lambda option: round(option[0], 6))
        score, pair = table.get((0, 0), nothing)
        return None if pair is None else (score, *pair)

    def _gap(self, r: int) -> float:
        """What it costs that the candidate shows nothing for a place: nothing for a layer that
        does nothing here, which any optimizer may remove."""
        node = self.r.nodes[r]
        before = (self.r.nodes[p].sketch for p in node.parents)
        idle = any(
            b.size == node.sketch.size and agreement(b, node.sketch)[1] >= self.threshold
            for b in before
        )
        return 0.0 if idle else GAP

    def _comparable(self, r: int, c: int) -> bool:
        """Of one size; outputs that answer to each other only with each other."""
        if self._size(r, self.r) != self._size(c, self.c):
            return False
        known = self._known_outputs()
        answers = [one for one, other in known if other == c]
        if answers:
            return any(r == one or self._identical(r, one) for one in answers)
        return not any(r == one for one, _ in known)

    def _identical(self, r: int, other: int) -> bool:
        """Whether two tensors of the reference are the same values in the same order."""
        a, b = self.r.nodes[r].sketch, self.r.nodes[other].sketch
        return a.size == b.size and bool((a.orders[0] == b.orders[0]).all())

    def _likeness(self, r: int, c: int) -> float:
        """How much speaks for two tensors being the same one, wrong in the candidate: direction,
        bounds (an activation function leaves its mark on them even where the numbers are wrong),
        names. Positive."""
        one, other = self.r.nodes[r], self.c.nodes[c]
        named, scoped, alike = kinship(one, other)
        a, b = one.sketch, other.sketch
        width = max(a.high - a.low, b.high - b.low, 1e-30)
        low, high = abs(a.low - b.low) / width, abs(a.high - b.high) / width
        return (
            max(0.0, _cosine(a, b, self._agreement(r, c)[0]))
            + max(0.0, 1.0 - (low + high) / 2)
            + 0.25 * ((low < _NEAR) + (high < _NEAR))
            + 1.0 * named
            + 0.3 * scoped
            + 0.3 * alike
        )

    def _at_an_output(self) -> Finding | None:
        """Every layer agrees with something, yet an output is wrong: the candidate hands out
        another tensor, or does something more to it."""
        for r, c in self._known_outputs():
            if self._size(r, self.r) == self._size(c, self.c):
                order, ratio = self._agreement(r, c)
                if ratio >= self.threshold:
                    continue
                good = max(self.r_frontiers[r], default=None)
                return Finding(r, r, c, order, ratio, (r,), good)
        return None

    def _known_outputs(self) -> list[tuple[int, int]]:
        return [(r, c) for r, c in self.wrong if r is not None and c is not None]

    @staticmethod
    def _size(place: int, side: _Side) -> int:
        return side.nodes[place].sketch.size


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


def _cosine(a: Sketch, b: Sketch, order: int) -> float:
    import numpy as np

    norm = float(np.sqrt(a.power * b.power))
    return float(np.clip(a.orders[order] @ b.orders[0] / norm, -1.0, 1.0)) if norm else 0.0
