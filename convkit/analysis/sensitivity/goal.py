"""When a choice is accurate enough, and which of two is the more accurate."""

from __future__ import annotations

import math
from dataclasses import dataclass

from convkit.sensitivity import Trial

LEAST_GAIN = 0.25
"""dB; below it a step is not worth its float layers."""
USUAL_SQNR = 20.0
"""dB; an error of a tenth of the signal."""
MOST_MISSING = 12.0
"""dB; beyond it, steps are taken by what they gain for their price."""


@dataclass(frozen=True)
class Goal:
    """When a choice is good enough.

    Attributes:
        max_drop: of the metric against the float model; None where there is no metric.
        min_sqnr: of the outputs, in dB; None where only the metric counts.
        most: being accurate enough is no reason to stop, as long as limits leave room for more.
    """

    max_drop: float | None
    min_sqnr: float | None
    most: bool = False

    def met(self, trial: Trial) -> bool:
        """Whether nothing more accurate need be looked for."""
        return not self.most and self.kept(trial)

    def kept(self, trial: Trial) -> bool:
        """Whether a trial, which was measured, is accurate enough."""
        if not trial.measured:
            return False
        alike = self.min_sqnr is None or measured_db(trial) >= self.min_sqnr
        if self.max_drop is None:
            return alike
        return alike and trial.drop is not None and trial.drop <= self.max_drop

    def accuracy(self, trial: Trial) -> tuple[bool, float, float]:
        """The larger, the more accurate. A metric decides where it loses more than it may; below
        that its samples tell less than the outputs do."""
        drop = math.inf if trial.drop is None else trial.drop
        if self.max_drop is None or drop <= self.max_drop:
            return (True, measured_db(trial), -drop)
        return (False, -drop, measured_db(trial))

    def missing(self, trial: Trial) -> float:
        """About how many dB a trial is short of the goal: what a metric loses goes with the size of
        the error, which is half its power in dB."""
        if self.most:
            return MOST_MISSING
        short = LEAST_GAIN if self.min_sqnr is None else self.min_sqnr - measured_db(trial)
        if self.max_drop is not None and trial.drop is not None and trial.drop > self.max_drop:
            factor = trial.drop / self.max_drop if self.max_drop else math.inf
            short = max(short, 1.0, 20.0 * math.log10(factor))
        return min(MOST_MISSING, max(LEAST_GAIN, short))


def measured_db(trial: Trial) -> float:
    """How well its outputs agree; minus infinity where that is not known."""
    return -math.inf if trial.sqnr_db is None else trial.sqnr_db
