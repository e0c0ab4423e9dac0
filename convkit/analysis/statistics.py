"""Which of two models is faster, told from paired turns on a machine that does other work too.

In every round each model has one turn, in an order drawn anew. If two models are equally fast, then
which of the two had the slower turn is the toss of a coin, however unevenly the machine is loaded
and for however long: the order was random. Wilcoxon's signed-rank test rests on that alone, and its
inversion is the interval of Hodges and Lehmann, which a few turns that were interrupted cannot move
far. A bootstrap of rounds would need them to be independent, and a busy machine's are not.

numpy is imported inside the functions: the command line must start without it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from convkit.benchmark import Latency, SpeedRatio, SpeedVerdict

EXACT = 30
"""Up to so many rounds the distribution of signed ranks is counted out; beyond, the normal one is
as good."""
FIRST_LOOK = 11
"""Fewer rounds cannot tell anything at 99.9 %."""
LOOKS = 1.4
"""Between two looks at the figures the rounds grow by this factor."""
EARLY = 50.0
"""A look before the last may end the run at a so many times smaller chance of error only: who looks
often and stops when it suits him finds differences that are none (Haybittle and Peto)."""
MOST_ROUNDS = 3000
"""Pairs of rounds are what is sorted, so this bounds the memory."""


@dataclass(frozen=True)
class Turn:
    """The inferences of one model's turn in a round.

    Attributes:
        times: seconds of each.
        waited: how many of them the inference waited for a processor that other work had.
    """

    times: tuple[float, ...]
    waited: tuple[float, ...]

    @property
    def own(self) -> tuple[float, ...]:
        """The times without waiting."""
        return tuple(
            time - waited if waited < time else time
            for time, waited in zip(self.times, self.waited, strict=True)
        )

    def typical(self, count: int | None = None) -> float:
        """The time that speaks for the turn: the lower median of its first `count` inferences,
        without waiting. That tells of the machine's other work only, and an inference longer than
        the system's time slices would look slower than it is."""
        own = sorted(self.own[:count])
        return own[(len(own) - 1) // 2]


def latency(turns: Sequence[Turn]) -> Latency:
    """Summary of the times of single inferences; at least one."""
    import numpy as np

    values = np.asarray([time for turn in turns for time in turn.times])
    median, p90, p95, p99 = (float(v) for v in np.percentile(values, [50, 90, 95, 99]))
    return Latency(
        count=len(values),
        mean=float(values.mean()),
        minimum=float(values.min()),
        median=median,
        p90=p90,
        p95=p95,
        p99=p99,
        deviation=float(values.std(ddof=1)) if len(values) > 1 else 0.0,
        own=float(np.median([time for turn in turns for time in turn.own])),
    )


def paired(candidate: Sequence[Turn], baseline: Sequence[Turn]) -> tuple[list[float], list[float]]:
    """Typical times of the rounds of two models, each from as many inferences: out of eight, one
    is sooner undisturbed than out of two."""
    fewest = min(len(turn.times) for turn in (*candidate, *baseline))
    return [t.typical(fewest) for t in candidate], [t.typical(fewest) for t in baseline]


def compare(
    candidate: Sequence[float],
    baseline: Sequence[float],
    title: str,
    confidence: float,
    margin: float,
) -> SpeedRatio:
    """The ratio of two models' times.

    Args:
        candidate, baseline: a typical time of each round, in seconds, in the order of rounds.
        title: of the baseline.
        confidence: of the interval.
        margin: see `SpeedRatio`.
    """
    import numpy as np

    logs = np.log(np.asarray(candidate, float)) - np.log(np.asarray(baseline, float))
    value, low, high = (math.exp(v) for v in hodges_lehmann(logs.tolist(), confidence))
    return SpeedRatio(
        baseline=title,
        value=value,
        low=low,
        high=high,
        confidence=confidence,
        margin=margin,
        verdict=verdict(value, low, high, margin),
    )


def verdict(value: float, low: float, high: float, margin: float) -> SpeedVerdict:
    """What an interval says; see `SpeedVerdict`. The margin is the same in both directions: what is
    slower than its rival has a rival that is faster."""
    whole = 1.0 + margin
    half = math.sqrt(whole)
    if low > half and value > whole:
        return "slower"
    if high < 1.0 / half and value < 1.0 / whole:
        return "faster"
    if 1.0 / whole <= low and high <= whole:
        return "equal"
    return "cannot tell"


def decided(
    candidate: Sequence[float], baseline: Sequence[float], confidence: float, margin: float
) -> bool:
    """Whether more rounds are spared: the verdict stands at a much higher confidence."""
    strict = 1.0 - (1.0 - confidence) / EARLY
    return compare(candidate, baseline, "", strict, margin).verdict != "cannot tell"


def next_look(rounds: int) -> int:
    """After how many rounds the figures are looked at next."""
    return min(MOST_ROUNDS, max(FIRST_LOOK, math.ceil(rounds * LOOKS)))


def hodges_lehmann(values: Sequence[float], confidence: float) -> tuple[float, float, float]:
    """The centre of a symmetric distribution, with its interval: estimate, low, high.

    Too few values for the confidence give an interval without ends.
    """
    import numpy as np

    data = np.asarray(values, dtype=float)
    count = len(data)
    rows, columns = np.triu_indices(count)
    means = (data[rows] + data[columns]) / 2.0
    means.sort()
    estimate = float(np.median(means))
    rank = signed_rank(count, confidence)
    if rank < 1:
        return estimate, -math.inf, math.inf
    return estimate, float(means[rank - 1]), float(means[-rank])


def signed_rank(count: int, confidence: float) -> int:
    """How many of the smallest and of the largest means of pairs lie outside of the interval, plus
    one; 0 where no interval reaches the confidence."""
    tail = (1.0 - confidence) / 2.0
    if count <= EXACT:
        ways = _ways(count)
        limit, passed, rank = tail * 2**count, 0, 0
        while passed + ways[rank] <= limit:
            passed += ways[rank]
            rank += 1
        return rank
    mean = count * (count + 1) / 4.0
    deviation = math.sqrt(count * (count + 1) * (2 * count + 1) / 24.0)
    return max(0, math.floor(mean - NormalDist().inv_cdf(1.0 - tail) * deviation))


def _ways(count: int) -> list[int]:
    """For each sum, how many subsets of the ranks 1 to `count` have it."""
    ways = [1] + [0] * (count * (count + 1) // 2)
    for rank in range(1, count + 1):
        for total in range(len(ways) - 1, rank - 1, -1):
            ways[total] += ways[total - rank]
    return ways


def drift(turns: Sequence[Turn]) -> float:
    """By what factor a model became slower from the first half of its rounds to the second."""
    import numpy as np

    times = [turn.typical() for turn in turns]
    half = len(times) // 2
    if not half:
        return 1.0
    return float(np.median(times[half:]) / np.median(times[:half]))
