"""Which wrong tensors of two traces belong together, where equality no longer tells.

The two sequences of wrong tensors are aligned like strings.

numpy is imported inside the functions: the command line must start without it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from convkit.nodes import kinship
from convkit.overlaps import Overlap, agreement
from convkit.sketches import Sketch

WINDOW = 12
"""So many layers are considered as one that was folded, or taken apart, at most."""
GAP = 0.5
"""What it costs to leave out a tensor when sequences of wrong tensors are aligned; a pair gains
up to 2.5 by its numbers."""
_NEAR = 0.02
"""Bounds of values closer than this share of the range come from the same activation function."""


class Pairing:
    """Pairs among what an overlap leaves open."""

    def __init__(self, overlap: Overlap) -> None:
        self.overlap = overlap

    def counterpart(self, first: int) -> tuple[int, int] | None:
        """The tensors at which the difference can be shown: the first layer's own output, or that
        of a later one which the candidate computes in one with it.

        What follows a fault is wrong on both sides, so equality no longer tells what belongs
        together. The two sequences of wrong tensors are aligned like strings; the first pair of
        the best alignment is the answer.
        """
        ours = self.following(first)
        pair = self.best_pair(ours)
        if pair is not None:
            return pair
        for r in ours:
            for c in self.overlap.c_open:
                if self._comparable(r, c):
                    return r, c
        return next((pair for pair in self.overlap.known_outputs() if pair[0] in ours), None)

    def following(self, first: int, further: Collection[int] = ()) -> list[int]:
        """A place of the reference, and the open (and further) ones that depend on it."""
        places = sorted({*self.overlap.r_open, *further})
        return [first, *(r for r in places if self.overlap.r.before[r] >> first & 1)]

    def best_pair(self, ours: Sequence[int]) -> tuple[int, int] | None:
        """The first pair of the best alignment with what is wrong in the candidate."""
        best: tuple[float, int, int] | None = None
        for start in self.overlap.c_first[:WINDOW]:
            before = self.overlap.c.before
            theirs = [start, *(c for c in self.overlap.c_open if before[c] >> start & 1)]
            found = self._aligned(ours[:WINDOW], theirs[:WINDOW])
            if found is not None:
                score = found[0] + self.overlap.nearness(ours[0], start)
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
        node = self.overlap.r.nodes[r]
        before = (self.overlap.r.nodes[p].sketch for p in node.parents)
        idle = any(
            b.size == node.sketch.size and agreement(b, node.sketch)[1] >= self.overlap.threshold
            for b in before
        )
        return 0.0 if idle else GAP

    def _comparable(self, r: int, c: int) -> bool:
        """Of one size; outputs that answer to each other only with each other."""
        if not self.overlap.same_size(r, c):
            return False
        known = self.overlap.known_outputs()
        answers = [one for one, other in known if other == c]
        if answers:
            return any(r == one or self._identical(r, one) for one in answers)
        return not any(r == one for one, _ in known)

    def _identical(self, r: int, other: int) -> bool:
        """Whether two tensors of the reference are the same values in the same order."""
        a, b = self.overlap.r.nodes[r].sketch, self.overlap.r.nodes[other].sketch
        return a.size == b.size and bool((a.orders[0] == b.orders[0]).all())

    def _likeness(self, r: int, c: int) -> float:
        """How much speaks for two tensors being the same one, wrong in the candidate: direction,
        bounds (an activation function leaves its mark on them even where the numbers are wrong),
        names. Positive."""
        one, other = self.overlap.r.nodes[r], self.overlap.c.nodes[c]
        named, scoped, alike = kinship(one, other)
        a, b = one.sketch, other.sketch
        width = max(a.high - a.low, b.high - b.low, 1e-30)
        low, high = abs(a.low - b.low) / width, abs(a.high - b.high) / width
        return (
            max(0.0, _cosine(a, b, self.overlap.agreement(r, c)[0]))
            + max(0.0, 1.0 - (low + high) / 2)
            + 0.25 * ((low < _NEAR) + (high < _NEAR))
            + 1.0 * named
            + 0.3 * scoped
            + 0.3 * alike
        )


def _cosine(a: Sketch, b: Sketch, order: int) -> float:
    import numpy as np

    norm = float(np.sqrt(a.power * b.power))
    return float(np.clip(a.orders[order] @ b.orders[0] / norm, -1.0, 1.0)) if norm else 0.0
