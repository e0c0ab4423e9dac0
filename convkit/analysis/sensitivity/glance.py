"""Whether the first samples leave no doubt that a model loses too much: the others need not be run.

What a group of samples contributes to the loss shows when the float model's outputs take the place
of the model's in that group alone. How much the groups differ tells how much chance is in their
sum: the error of a total of independent parts, with Student's t for so few of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from convkit.engine.evaluate import Part
from convkit.evaluation import difference

GROUPS = 8
STUDENT = 2.998
"""99 % of Student's t distribution with GROUPS - 1 degrees of freedom lie below it."""
FEWEST = 48
"""Samples; fewer have too little in them."""
SHARE = 16
"""A part is this fraction of the data set, but for FEWEST."""
SMALL = 4
"""A data set of fewer parts is better scored at once."""


@dataclass(frozen=True)
class Glance:
    """What the first samples say.

    Attributes:
        samples: how many.
        value, drop: the metric on them, and what it loses there against the float model.
        least: what it loses at least, with 99 % confidence; minus infinity where that cannot be
            told.
    """

    samples: int
    value: float
    drop: float
    least: float


def worth_a_glance(count: int) -> int | None:
    """How many of so many samples to look at first; None where all may as well be scored."""
    few = max(FEWEST, count // SHARE)
    return few if SMALL * few <= count else None


def glance(part: Part) -> Glance:
    """Judge a part. A metric that is no mean of its samples' scores gives more or less to single
    groups than to all together, and the error is scaled alike."""
    drop = difference(part.held, part.value)
    shares = [mixed - part.value for mixed in part.mixed]
    total, count = sum(shares), len(shares)
    least = -math.inf
    if drop > 0 and total > 0:
        variance = sum((share - total / count) ** 2 for share in shares) * count / (count - 1)
        least = drop - STUDENT * math.sqrt(variance) * drop / total
    return Glance(part.samples, part.value, drop, least)
