"""The parts of the analyzer that need no model: predicted errors, prices, proposals, the tap."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from convkit.analysis.sensitivity.goal import Goal
from convkit.analysis.sensitivity.noise import Noise, shrunk
from convkit.analysis.sensitivity.prices import Prices
from convkit.analysis.sensitivity.regions import MOST_FLOAT, propose, segments
from convkit.analysis.sensitivity.tap import beside, injected
from convkit.nodes import Node
from convkit.quant import LayerInfo
from convkit.sensitivity import Trial
from convkit.sketches import sketch


def chain(count: int, macs: int = 100) -> tuple[LayerInfo, ...]:
    """Convolutions, each with a ReLU behind it."""
    layers = []
    for number in range(count):
        before = "image" if number == 0 else f"a{number - 1}"
        scope = f"stage{number // 2}.conv{number}"
        layers += [
            LayerInfo(f"c{number}", "Conv", (before,), (f"y{number}",), macs, 9, scope=scope),
            LayerInfo(f"r{number}", "Relu", (f"y{number}",), (f"a{number}",), scope=scope),
        ]
    return tuple(layers)


def noise_of(layers: tuple[LayerInfo, ...], effects: Any) -> Noise:
    names = ["image", *(name for layer in layers for name in layer.outputs)]
    columns = {name: effects[:, place] for place, name in enumerate(names)}
    return Noise(layers, {x.name for x in layers}, columns, {})


@settings(max_examples=40, deadline=None)
@given(arrays.arrays(np.float64, (6, 7), elements=st.floats(-1e3, 1e3)))
def test_shrinking_keeps_single_errors_and_makes_no_power_negative(effects: Any) -> None:
    matrix = shrunk(effects)
    assert np.allclose(np.diag(matrix), (effects**2).mean(axis=0))
    lowest = np.linalg.eigvalsh(matrix).min()
    assert lowest >= -1e-6 * max(1.0, np.abs(matrix).max())


def test_many_rows_are_believed_and_few_are_not() -> None:
    rng = np.random.default_rng(0)
    common = rng.standard_normal((2000, 1)) + 0.1 * rng.standard_normal((2000, 5))
    beside = shrunk(common) - np.diag(np.diag(shrunk(common)))
    assert beside[np.triu_indices(5, 1)] == pytest.approx(np.ones(10), abs=0.1)
    chance = rng.standard_normal((4, 60))
    plain = chance.T @ chance / 4
    spread = np.abs(plain - np.diag(np.diag(plain))).sum()
    assert np.abs(shrunk(chance) - np.diag(np.diag(plain))).sum() < 0.4 * spread


def test_a_tensor_escapes_only_with_all_that_touch_it() -> None:
    layers = chain(2)
    rng = np.random.default_rng(1)
    effects = rng.standard_normal((4000, 5))
    noise = noise_of(layers, effects)
    power = (effects**2).mean(axis=0)
    assert noise.error([]) == pytest.approx(power.sum(), rel=0.1)
    # c0 alone in float: its result is still brought to integers for r0
    assert noise.error(["c0"]) == pytest.approx(power[1:].sum(), rel=0.1)
    assert noise.error(["c0", "r0"]) == pytest.approx(power[2:].sum(), rel=0.1)
    assert noise.error([x.name for x in layers]) == 0.0


def test_errors_that_cancel_are_seen() -> None:
    layers = chain(2)
    rng = np.random.default_rng(2)
    effects = np.zeros((4000, 5))
    effects[:, 1] = rng.standard_normal(4000)
    effects[:, 3] = -effects[:, 1]  # what c0 does wrong, c1 undoes
    noise = noise_of(layers, effects)
    assert noise.error([]) < 0.05
    assert noise.error(["c0", "r0"]) > 0.9  # sparing one of them makes it worse


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 9), max_size=10, unique=True))
def test_many_choices_at_once_give_what_each_gives(chosen: list[int]) -> None:
    layers = chain(5)
    effects = np.random.default_rng(3).standard_normal((30, 11))
    noise = noise_of(layers, effects)
    names = [layers[i].name for i in chosen]
    both = noise.errors([names, []])
    assert both[0] == pytest.approx(noise.error(names))
    assert both[1] == pytest.approx(noise.error([]))


def test_prices_count_islands_and_crossings() -> None:
    layers = chain(4)
    prices = Prices(layers, {x.name for x in layers})
    assert prices.of([]).cost == 0.0
    one = prices.of(["c1", "r1"])
    assert (one.float_macs, one.islands) == (0.25, 1)
    two = prices.of(["c1", "r1", "c3", "r3"])
    assert (two.float_macs, two.islands) == (0.5, 2)
    joined = prices.of(["c1", "r1", "c2", "r2"])
    assert (joined.float_macs, joined.islands) == (0.5, 1)
    assert joined.cost < two.cost


def test_what_passes_over_memory_has_a_price_too() -> None:
    layers = chain(4, macs=64)
    names = [name for layer in layers for name in layer.outputs]
    sizes = {name: 100 if name in ("y0", "a0") else 1 for name in names}
    prices = Prices(layers, {x.name for x in layers}, sizes)
    large, small = prices.of(["c0", "r0"]), prices.of(["c3", "r3"])
    assert large.float_macs == small.float_macs
    assert large.cost > 5 * small.cost
    everything = prices.of([x.name for x in layers])
    assert everything.cost == pytest.approx(1.0)


def test_proposals_are_contiguous_modules_and_layers_and_leave_enough_in_integers() -> None:
    layers = chain(6)
    regions = propose(layers, {x.name for x in layers})
    sets = {frozenset(r.layers) for r in regions}
    assert len(sets) == len(regions) == len({r.name for r in regions})
    assert {"c2", "r2", "c3", "r3"} in sets  # the module stage1, and a stretch
    assert {"c1", "r1", "c2", "r2"} in sets  # a stretch across modules
    assert {"c4", "r4"} in sets
    macs = sum(x.macs for x in layers)
    by_name = {x.name: x for x in layers}
    assert all(sum(by_name[n].macs for n in s) <= MOST_FLOAT * macs for s in sets)
    assert [len(s) for s in segments(layers)] == [2] * 6


def test_regions_that_change_nothing_are_not_proposed() -> None:
    layers = chain(3)
    regions = propose(layers, {"c0", "r0"})
    assert regions
    assert all({"c0", "r0"} & set(r.layers) for r in regions)


def test_the_tap_blames_the_layer_that_adds_the_error() -> None:
    layers = chain(3)
    rng = np.random.default_rng(4)
    names = [name for layer in layers for name in layer.outputs]
    plain, broken = [], []
    for place, name in enumerate(names):
        value = rng.standard_normal((8, 100)).astype(np.float32)
        spoilt = value + (0.3 if place >= 2 else 0.001) * rng.standard_normal(value.shape)
        for found, own in ((plain, value), (broken, spoilt.astype(np.float32))):
            found.append(Node(layers[place].name, "", "", name, (), sketch(own)))
    errors = injected(layers, plain, broken)
    assert max(errors, key=lambda name: errors[name]) == "y1"
    columns = beside({}, errors)
    assert float((columns["y1"] ** 2).mean()) == pytest.approx(errors["y1"])
    assert float((columns["y1"] * columns["a1"]).mean()) == 0.0


def test_errors_laid_beside_a_ranking_leave_it_as_it_is() -> None:
    rng = np.random.default_rng(5)
    known = {"a": rng.standard_normal(40), "b": rng.standard_normal(40)}
    found = beside(known, {"c": 0.5, "d": 2.0})
    means = {name: float((column**2).mean()) for name, column in found.items()}
    assert means["c"] == pytest.approx(0.5)
    assert means["d"] == pytest.approx(2.0)
    assert means["a"] == pytest.approx(float((known["a"] ** 2).mean()))
    assert float((found["a"] * found["b"]).mean()) == pytest.approx(
        float((known["a"] * known["b"]).mean())
    )
    assert float((found["a"] * found["c"]).mean()) == 0.0
    assert {len(c) for c in beside(known, {}, rows=2).values()} == {42}


def test_outputs_decide_between_trials_that_lose_little_enough() -> None:
    """A metric tells less than outputs do, until it loses more than it may."""
    trials = (
        Trial("few errors", sqnr_db=40.0, drop=0.002),
        Trial("lucky", sqnr_db=35.0, drop=0.0),
        Trial("bad metric", sqnr_db=50.0, drop=0.006),
        Trial("worse metric", sqnr_db=55.0, drop=0.1),
        Trial("not scored", sqnr_db=60.0),
    )
    ranked = sorted(trials, key=Goal(0.005, 60.0).accuracy)
    assert ranked == list(trials[::-1])
    unlabelled = sorted(trials, key=Goal(None, 70.0).accuracy)
    assert [trial.sqnr_db for trial in unlabelled] == sorted(t.sqnr_db or 0.0 for t in trials)
