"""Statistics of paired turns: known values, symmetries, and verdicts under planted noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convkit.analysis import statistics
from convkit.analysis.statistics import Turn, compare, hodges_lehmann, paired, signed_rank, verdict

MARGIN = 0.03
VALUES = st.lists(st.floats(-5, 5).map(lambda x: round(x, 6)), min_size=6, max_size=40)


def turns(times: list[float], waited: float = 0.0) -> Turn:
    return Turn(tuple(times), (waited,) * len(times))


@pytest.mark.parametrize(
    ("count", "rank"),
    [(5, 0), (6, 1), (10, 9), (15, 26), (20, 53), (25, 90)],
)
def test_ranks_are_those_of_printed_tables_of_the_signed_rank_test(count: int, rank: int) -> None:
    """Two-sided 5 %; a table's critical value is one less than the rank of the interval's end."""
    assert signed_rank(count, 0.95) == rank


def test_the_normal_approximation_continues_the_exact_distribution(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exact = signed_rank(30, 0.95)
    monkeypatch.setattr(statistics, "EXACT", 29)
    assert abs(signed_rank(30, 0.95) - exact) <= 1


@given(VALUES, st.floats(-3, 3).map(lambda x: round(x, 6)))
def test_the_interval_moves_with_the_data_and_mirrors_with_it(
    values: list[float], shift: float
) -> None:
    centre, low, high = hodges_lehmann(values, 0.9)
    assert low <= centre <= high
    moved = hodges_lehmann([v + shift for v in values], 0.9)
    assert moved == pytest.approx((centre + shift, low + shift, high + shift), abs=1e-9)
    mirrored = hodges_lehmann([-v for v in values], 0.9)
    assert mirrored == pytest.approx((-centre, -high, -low), abs=1e-9)


def test_a_fifth_of_interrupted_rounds_moves_it_little() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0.1, 0.02, 100)
    values[::5] += 3.0
    centre, low, high = hodges_lehmann(values.tolist(), 0.95)
    assert abs(centre - 0.1) < 0.02
    assert high - low < 0.05
    assert abs(values.mean() - 0.1) > 0.5  # where a mean would be


def test_too_few_rounds_have_an_interval_without_ends() -> None:
    ratio = compare([2.0] * 5, [1.0] * 5, "base", 0.95, MARGIN)
    assert ratio.value == pytest.approx(2.0)
    assert (ratio.low, ratio.high) == (0.0, math.inf)
    assert ratio.verdict == "cannot tell"


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        ((1.10, 1.05, 1.15), "slower"),
        ((1.02, 1.018, 1.025), "equal"),
        ((1.02, 1.01, 1.04), "cannot tell"),
        ((1.10, 0.99, 1.20), "cannot tell"),
        ((1.05, 1.01, 1.09), "cannot tell"),
        ((0.50, 0.40, 0.60), "faster"),
        ((1.00, 0.90, 1.10), "cannot tell"),
    ],
)
def test_verdicts(interval: tuple[float, float, float], expected: str) -> None:
    assert verdict(*interval, MARGIN) == expected


@given(st.tuples(*[st.floats(0.5, 2.0)] * 3).map(sorted))
def test_a_verdict_turns_round_with_the_baseline(interval: list[float]) -> None:
    low, value, high = interval
    opposite = {"slower": "faster", "faster": "slower"}
    ours = verdict(value, low, high, MARGIN)
    theirs = verdict(1 / value, 1 / high, 1 / low, MARGIN)
    edges = [abs(x - e) for x in (*interval, *(1 / i for i in interval)) for e in _edges()]
    if min(edges) > 1e-9:  # on an edge, the division rounds to one side or the other
        assert theirs == opposite.get(ours, ours)


def _edges() -> tuple[float, ...]:
    whole = 1 + MARGIN
    return (whole, 1 / whole, math.sqrt(whole), 1 / math.sqrt(whole))


def test_waiting_for_a_processor_is_no_part_of_a_turns_time_but_of_the_percentiles() -> None:
    turn = Turn((1.0, 5.0, 1.2), (0.0, 3.9, 0.0))
    assert turn.own == pytest.approx((1.0, 1.1, 1.2))
    assert turn.typical() == pytest.approx(1.1)
    found = statistics.latency([turn])
    assert (found.count, found.minimum, found.median) == (3, 1.0, 1.2)
    assert found.own == pytest.approx(1.1)
    assert found.p99 > 4.8


def test_two_models_are_compared_by_as_many_inferences_a_turn() -> None:
    many = [turns([3.0, 3.0, 1.0, 1.0, 1.0])] * 3
    few = [turns([3.0, 3.0])] * 3
    assert paired(many, few) == ([3.0] * 3, [3.0] * 3)
    assert paired(few, many) == ([3.0] * 3, [3.0] * 3)


def test_drift_is_the_second_half_over_the_first() -> None:
    assert statistics.drift([turns([1.0])] * 10 + [turns([1.5])] * 10) == pytest.approx(1.5)
    assert statistics.drift([turns([1.0])]) == 1.0


def test_looks_become_rarer_and_end() -> None:
    looks = [statistics.next_look(0)]
    while looks[-1] < statistics.MOST_ROUNDS:
        looks.append(statistics.next_look(looks[-1]))
    assert looks[0] == statistics.FIRST_LOOK
    assert looks == sorted(set(looks))
    assert len(looks) < 20


@pytest.mark.parametrize(
    ("true", "right"),
    [(1.0, {"equal", "cannot tell"}), (1.1, {"slower"}), (1 / 1.1, {"faster"})],
)
@pytest.mark.parametrize("bursts", [False, True])
def test_verdicts_are_right_in_95_of_100_runs_under_noise_that_lasts(
    true: float, right: set[str], bursts: bool
) -> None:
    """The noise of a turn depends on that of the turn before, so rounds are not independent; the
    order within a round is drawn, and the run ends as soon as it is decided."""
    rng = np.random.default_rng(3)
    runs = 100
    assert sum(_simulated(rng, true, bursts) in right for _ in range(runs)) >= 0.95 * runs


def _simulated(rng: np.random.Generator, true: float, bursts: bool) -> str:
    times: tuple[list[float], list[float]] = ([], [])
    state, look = 0.0, statistics.next_look(0)
    for number in range(1, 151):
        for model in rng.permutation(2):
            state = 0.9 * state + math.sqrt(1 - 0.81) * rng.standard_normal()
            burden = 0.7 * (state > 1) if bursts else 0.2 * state
            noise = math.exp(burden + 0.05 * rng.standard_normal())
            times[model].append(noise * (true if model == 0 else 1.0))
        if number >= look:
            look = statistics.next_look(number)
            if statistics.decided(*times, 0.95, MARGIN):
                break
    return compare(*times, "base", 0.95, MARGIN).verdict
