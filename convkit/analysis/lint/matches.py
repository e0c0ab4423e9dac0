"""Pictures that two sets of images share, however they were prepared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from convkit.analysis.lint.pixels import Look

_SAME = 0.998
"""Correlation of thumbnails from which two images are the same picture."""
_STANDS_OUT = 0.1
"""And by so much of what is missing to 1 the best match must beat the second: pictures that
resemble all others (plain backgrounds, film frames) prove nothing."""
_MIRRORED = -0.5
"""Correlation of the colour differences from which channels are swapped."""


@dataclass(frozen=True)
class Match:
    """An image of one set that shows the same picture as one of the other set.

    Attributes:
        swapped: its first and third channel are the other way round.
        stretched: it has no bars where the other one has.
    """

    swapped: bool
    stretched: bool


def same_pictures(ours: Sequence[Look], theirs: Sequence[Look]) -> tuple[Match, ...]:
    """Find the pictures of `ours` that are in `theirs`. Brightness, contrast, bars, the aspect
    ratio and the order of channels may differ."""
    import numpy as np

    if not ours or not theirs:
        return ()
    left, right = _gray(ours), _gray(theirs)
    alike = left @ right.T
    found = []
    for number, row in enumerate(alike):
        order = np.argsort(row)
        best = int(order[-1])
        second = float(row[order[-2]]) if len(row) > 1 else 0.0
        if row[best] < _SAME or 1 - row[best] > _STANDS_OUT * (1 - second):
            continue
        mine, other = ours[number], theirs[best]
        swapped = (
            len(mine.thumb) == len(other.thumb) == 3
            and float(_colour(mine) @ _colour(other)) < _MIRRORED
        )
        found.append(Match(swapped, not mine.bars and other.bars > 0))
    return tuple(found)


def _gray(looks: Sequence[Look]) -> Any:
    """Unit vectors (images, cells), the channels' mean; zeros for blank images."""
    import numpy as np

    return np.stack([_unit(entry.thumb.mean(axis=0)) for entry in looks])


def _colour(entry: Look) -> Any:
    """First channel against third, each by its own mean and spread, as a unit vector."""
    import numpy as np

    first, third = (_unit(entry.thumb[at]) for at in (0, 2))
    return _unit(np.asarray(first - third))


def _unit(values: Any) -> Any:
    import numpy as np

    flat = values.reshape(-1) - values.mean()
    length = float(np.sqrt(flat @ flat))
    return flat / length if length > 1e-9 else np.zeros_like(flat)
