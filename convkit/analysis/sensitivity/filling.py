"""The most accurate choice that keeps limits on time and size.

How long a choice takes is told from its price before it is built, and measured afterwards. Where
the two differ the next round knows better, and uses the room that is left or saves what is missing.
"""

from __future__ import annotations

from convkit.analysis.sensitivity.goal import measured_db
from convkit.analysis.sensitivity.limits import Limits
from convkit.analysis.sensitivity.search import Search
from convkit.sensitivity import Trial

ROUNDS = 4
AT_ONCE = 3
"""Trials that are timed together: the one that looks best may take too long."""


def fill(search: Search, limits: Limits) -> Trial:
    """Search, and time what is found, until nothing more accurate fits; everything in integers
    where that does not fit either."""
    full = search.baseline()
    if limits.max_time is not None:
        limits.measure([full], search.trials.found)
    best: Trial | None = None
    for _ in range(ROUNDS):
        search.fits = limits.room(search.trials.all)
        if best is None:
            search.run()
        else:
            search.further(best)
        found = _best_within(search, limits)
        if found is None or (best is not None and found.name == best.name):
            break
        best = found
    return best or full


def _best_within(search: Search, limits: Limits) -> Trial | None:
    """By the outputs, of those whose metric loses no more than it may."""
    while True:
        trials = limits.told(search.trials.all)
        kept = [t for t in trials if t.measured and limits.kept(t)]
        kept.sort(key=measured_db, reverse=True)
        good = (
            trial for trial in map(search.trials.scored, kept) if search.goal.accuracy(trial)[0]
        )
        best = next(good, None) or max(kept, key=search.goal.accuracy, default=None)
        if best is None or limits.max_time is None or limits.timed(best):
            return best
        rest = [trial for trial in kept if not limits.timed(trial) and trial.name != best.name]
        limits.measure([best, *rest[: AT_ONCE - 1]], search.trials.found)
