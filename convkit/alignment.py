"""Two traces of one model, held against each other: which layer is the first that differs.

What agrees is told by `convkit.overlaps`. What is left over on one side only is not yet a fault: a
runtime may have folded a layer into the next, or taken one apart. A layer is suspected only if its
effect reaches a wrong output without passing through anything that agrees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convkit.nodes import Node
from convkit.overlaps import Overlap, agreement
from convkit.pairing import Pairing

CEILING = 140.0
"""dB; about what float32 can tell apart. Better agreement is no better."""


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
    fine = _Search(Overlap(reference, candidate, wrong, target_db)).run()
    if fine is None or fine.sqnr_db < floor_db:
        return fine
    coarse = _Search(Overlap(reference, candidate, wrong, floor_db)).run()
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


class _Search:
    """The search in one overlap."""

    def __init__(self, overlap: Overlap) -> None:
        self.overlap = overlap
        self.pairing = Pairing(overlap)

    def run(self) -> Finding | None:
        first = self._first()
        if first is None:
            return self._at_an_output()
        if first in self.overlap.equals:  # what it was held equal to is something else: judge anew
            return _Search(self.overlap.without(first)).run()
        pair = self.pairing.counterpart(first)
        compared, other = pair if pair is not None else (first, None)
        order, ratio = 0, float("-inf")
        if other is not None:
            order, ratio = self.overlap.agreement(compared, other)
        inside = self.overlap.r.before[compared] | 1 << compared
        members = tuple(
            place
            for place in self.overlap.r_open
            if inside >> place & 1 and (place == first or self.overlap.r.before[place] >> first & 1)
        )
        good = max(self.overlap.r_frontiers[first], default=None)
        return Finding(first, compared, other, order, ratio, members or (first,), good)

    def _first(self) -> int | None:
        """The first layer that no later agreement clears.

        A layer that agrees only with what another has already (an identity, a rectifier of
        positive numbers), or that proves nothing (all zeros), is suspected where the candidate has
        a wrong tensor in its very place.
        """
        settled = self.overlap.settled()
        relevant = 0
        for end in self.overlap.r.ends:
            relevant |= self.overlap.r.before[end] | 1 << end
        open_r = set(self.overlap.r_open)
        for r in range(len(self.overlap.r.nodes)):
            if not relevant >> r & 1:
                continue
            if r in open_r and not settled >> r & 1:
                return r
            suspected = r in open_r or r in self.overlap.r_doubtful
            if r in self.overlap.doubted or (suspected and self._replaced(r)):
                return r if r in self.overlap.equals else self._origin(r)
        return None

    def _origin(self, r: int) -> int:
        """The first of the layers that the candidate computes in one with a wrong one.

        What agrees after the wrong one (the fault is swallowed there) clears nothing before it.
        """
        settled = self.overlap.settled(without=r)
        before = self.overlap.r.before[r] & ~settled
        inside = (a for a in self.overlap.r_open if before >> a & 1)
        return min(inside, default=r)

    def _replaced(self, r: int) -> bool:
        """Whether the candidate has a wrong tensor just where this one should be."""
        if not any(
            self.overlap.same_size(r, c) and self.overlap.nearness(r, c) > 0
            for c in self.overlap.c_first
        ):
            return False
        pair = self.pairing.best_pair(self.pairing.following(r, self.overlap.r_doubtful))
        return pair is not None and pair[0] == r and self.overlap.nearness(*pair) > 0

    def _at_an_output(self) -> Finding | None:
        """Every layer agrees with something, yet an output is wrong: the candidate hands out
        another tensor, or does something more to it."""
        for r, c in self.overlap.known_outputs():
            if self.overlap.same_size(r, c):
                order, ratio = self.overlap.agreement(r, c)
                if ratio >= self.overlap.threshold:
                    continue
                good = max(self.overlap.r_frontiers[r], default=None)
                return Finding(r, r, c, order, ratio, (r,), good)
        return None
