"""The search, where what a build is worth is made up."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from convkit.analysis.sensitivity.goal import Goal
from convkit.analysis.sensitivity.prices import Prices
from convkit.analysis.sensitivity.search import COMPANY, PATIENCE, Search
from convkit.analysis.sensitivity.subject import Built
from convkit.analysis.sensitivity.trials import Trials
from convkit.quant import QuantRecipe
from convkit.sensitivity import Region, Trial
from tests.analysis.test_sensitivity_parts import chain

LAYERS = chain(40)
NAMES = [layer.name for layer in LAYERS]
POOR, GOOD = 5.0, 25.0
"""dB."""


class Workshop:
    """Stands in for a subject: a build is good where it keeps one layer in float."""

    layers = LAYERS
    full = None
    evaluator = None
    repairs: tuple[tuple[str, Any], ...] = ()

    def __init__(self, culprit: str) -> None:
        self._culprit = culprit
        self.session = self

    @contextmanager
    def stage(self, title: str) -> Iterator[Any]:
        yield SimpleNamespace(outcome="", detail="", progress=lambda phase, share: None)

    def notice(self, message: str, level: str = "info") -> None:
        pass

    def build(self, recipe: QuantRecipe, options: Mapping[str, Any], stage: Any) -> Built:
        kept: Collection[str] = {name for rule in recipe.rules for name in rule.layers}
        found: Any = SimpleNamespace(artifact=SimpleNamespace(size_bytes=1))
        return Built(found, GOOD if self._culprit in kept else POOR, ())


def searched(culprit: str, budget: int = 40, most: bool = False) -> tuple[Trial, int]:
    """The choice, and how many builds it took; regions are tried in the order of layers."""
    subject: Any = Workshop(culprit)
    trials = Trials(subject, Prices(LAYERS, NAMES, {}), Goal(None, 20.0, most), budget)
    regions = [Region(name, "layer", (name,)) for name in sorted(NAMES)]
    return Search(trials, regions, lambda: None).run(), trials.builds


def place(number: int) -> str:
    return sorted(NAMES)[number]


def test_what_promised_less_is_tried_while_the_goal_is_missed() -> None:
    for shortlist in range(PATIENCE):
        culprit = place(COMPANY * shortlist)
        choice, builds = searched(culprit)
        assert choice.regions == (culprit,)
        assert builds == 1 + COMPANY * (shortlist + 1)


def test_patience_ends() -> None:
    choice, builds = searched(place(COMPANY * PATIENCE))
    assert choice.float_layers == ()
    assert builds == 1 + COMPANY * PATIENCE


def test_the_budget_ends_it_before() -> None:
    choice, builds = searched(place(COMPANY), budget=3)
    assert choice.float_layers == ()
    assert builds == 3


def test_where_the_most_accurate_is_looked_for_one_shortlist_is_enough() -> None:
    _, builds = searched(place(COMPANY), most=True)
    assert builds == 1 + COMPANY
