"""The search for what to keep in float, under a declared number of builds.

The ranking says where to look: it shortlists regions in company of those chosen already. A few real
builds decide each step, on a handful of samples; the task's metric is asked only once a step is
made. At the end, what buys nothing is given back.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from convkit.analysis.sensitivity.goal import LEAST_GAIN, Goal, measured_db
from convkit.analysis.sensitivity.noise import Noise
from convkit.analysis.sensitivity.prices import Prices
from convkit.analysis.sensitivity.regions import LIGHT
from convkit.analysis.sensitivity.trials import BudgetSpent, Trials, layers_of, simplest
from convkit.sensitivity import Region, Trial, decibels

COMPANY = 4
"""Regions built in one step: the shortlist is good, not perfect."""
PATIENCE = 3
"""So many shortlists in a row may hold nothing that gains while a goal is missed: with errors that
large the ranking is the least reliable."""
REPAIR_GAIN = 1.0
"""dB; a smaller one is as likely an accident of the samples."""
MUCH_GAIN = 6.0
"""dB; all that the light operators keep in float, with many a crossing, is to be worth it."""
MOST_GAIN = 60.0
"""dB; a region that promises more promises everything."""
WORTH_SAVING = 0.03
"""Of a float inference's time, as predicted: what is less, `bench` would call equal, and it is not
worth builds and the metric on a whole data set."""
EAGER = 0.02
"""Share of float arithmetic that counts for nothing when gains are weighed against their price:
else the cheapest region would always win, however little it gains."""
MOST_FLOAT = 0.5
"""Share of the multiply-accumulates that may stay in float; with more, no inspector calls a file
one of integers."""
MOST_PREDICTED = 12
"""Choices that are shown without having been built."""


@dataclass(frozen=True)
class _Gain:
    """What a region gains beside those chosen, in dB, and its price."""

    region: Region
    decibels: float
    price: float

    def rank(self, needed: float) -> tuple[float, float, str]:
        """Smaller is better: of those that gain enough the cheapest, then the others by what they
        gain for their price."""
        if self.decibels >= needed:
            return (0.0, self.price, self.region.name)
        return (1.0, -self.decibels / self.price, self.region.name)


@dataclass
class Search:
    """One search.

    Attributes:
        rank: what the ranking expects; asked when regions have to be chosen, since it costs more
            than a build. None where no ranker could tell anything; structure decides then.
        fits: whether limits leave room for so many layers in float, as far as can be told.
    """

    trials: Trials
    regions: Sequence[Region]
    rank: Callable[[], Noise | None]
    fits: Callable[[Collection[str]], bool] = lambda layers: True
    _ranked: bool = False

    @property
    def goal(self) -> Goal:
        """When a choice is good enough."""
        return self.trials.goal

    @property
    def prices(self) -> Prices:
        """What choices cost."""
        return self.trials.prices

    def run(self) -> Trial:
        """Search; the answer is the choice, and `trials` has everything that was tried."""
        with self._budgeted():
            best = self.baseline()
            if not self.goal.met(best):
                current = self._repair(self._begin(best))
                current = self._grow(current)
                self._prune(current)
        best = self._best()
        while best.part:
            self.trials.scored(best, whole=True)
            best = self._best()
        return best

    def baseline(self) -> Trial:
        """Everything in integers, measured."""
        return self.trials.scored(self.trials.measure((), "baseline"))

    def further(self, trial: Trial) -> None:
        """Add regions to a trial for as long as they gain anything and fit."""
        known = {region.name: region for region in self.regions}
        self.trials.options = dict(trial.options)
        with self._budgeted():
            self._grow(tuple(known[name] for name in trial.regions))

    @contextmanager
    def _budgeted(self) -> Iterator[None]:
        try:
            yield
        except BudgetSpent:
            self.trials.subject.session.notice(
                f"the budget of {self.trials.budget} builds is used up: this is the best so far",
                "warning",
            )

    def _begin(self, full: Trial) -> tuple[Region, ...]:
        """Everything in integers, or the post-processing in float where that is better, or only
        what holds the arithmetic in integers where that is much better: a kernel that fails on an
        operator without any spoils it all."""
        best, chosen = full, tuple[Region, ...]()
        for name, gain in (("output", LEAST_GAIN), (LIGHT, MUCH_GAIN)):
            region = next((r for r in self.regions if r.name == name), None)
            if region is None or self.goal.met(best):
                continue
            trial = self.trials.measure((region,), "ladder")
            if trial.measured and measured_db(trial) >= measured_db(best) + gain:
                best, chosen = self.trials.scored(trial), (region,)
        return chosen

    def _repair(self, current: tuple[Region, ...]) -> tuple[Region, ...]:
        """Options of the quantizer that make it more accurate for nothing, kept where they do."""
        for name, value in self.trials.subject.repairs:
            if self.goal.met(self.trials.at(current)):
                break
            before, kept = self.trials.at(current), dict(self.trials.options)
            self.trials.options[name] = value
            trial = self.trials.measure(current, "repair")
            if not trial.measured or measured_db(trial) < measured_db(before) + REPAIR_GAIN:
                self.trials.options = kept
            else:
                self.trials.scored(trial)
        return current

    def _grow(self, current: tuple[Region, ...]) -> tuple[Region, ...]:
        """Add regions until the goal is met, or nothing gains any more of what promised most."""
        vain, patience = 0, 1 if self.goal.most else PATIENCE
        while not self.goal.met(self.trials.at(current)) and vain < patience:
            here = self.trials.at(current)
            needed, worth = self.goal.missing(here), self._worth(current)
            tried = [
                (region, self.trials.measure((*current, region), "search"))
                for region in self._shortlist(current, needed)
            ]
            gains = [
                _Gain(r, measured_db(t) - measured_db(here), worth(r))
                for r, t in tried
                if t.measured
            ]
            gains = [gain for gain in gains if gain.decibels >= LEAST_GAIN]
            if not tried:
                break
            if not gains:
                vain += 1
                continue
            vain = 0
            best = min(gains, key=lambda gain: gain.rank(needed))
            current = simplest((*current, best.region))
            self.trials.scored(self.trials.at(current))
        return current

    def _shortlist(self, current: tuple[Region, ...], needed: float) -> list[Region]:
        """The regions that promise most beside those chosen: by turns the cheapest that promise
        enough, and those that promise most."""
        kept = layers_of(current)
        fresh = [r for r in self.regions if not set(r.layers) <= kept]
        fresh = [r for r in fresh if not self.trials.tried({*kept, *r.layers})]
        fresh = [r for r in fresh if self._allowed({*kept, *r.layers})]
        if not fresh:
            return []
        self._ranked = True
        noise = self.rank()
        if noise is None:
            return self._by_structure(fresh)
        before = decibels(noise.error(kept))
        after = noise.errors([{*kept, *r.layers} for r in fresh])
        worth = self._worth(current)
        gains = [
            _Gain(region, min(decibels(float(error)) - before, MOST_GAIN), worth(region))
            for error, region in zip(after, fresh, strict=True)
        ]
        cheap = sorted(gains, key=lambda gain: gain.rank(needed))
        great = sorted(gains, key=lambda gain: gain.rank(MOST_GAIN))
        chosen: list[Region] = []
        for pair in zip(cheap, great, strict=True):
            for gain in pair:
                like = any(_alike(gain.region, other) for other in chosen)
                if len(chosen) < COMPANY and not like:
                    chosen.append(gain.region)
        return chosen

    def _allowed(self, layers: Collection[str]) -> bool:
        return self.prices.of(layers).float_macs <= MOST_FLOAT and self.fits(layers)

    def _by_structure(self, fresh: Sequence[Region]) -> list[Region]:
        """Without a ranking: priors first, then the largest modules and stretches."""
        order = {"kind": 0, "output": 0, "module": 1, "stretch": 2, "layer": 3}
        return sorted(fresh, key=lambda r: (order[r.kind], -len(r.layers), r.name))[:COMPANY]

    def _worth(self, current: tuple[Region, ...]) -> Callable[[Region], float]:
        base = self.prices.of(layers_of(current)).cost

        def price(region: Region) -> float:
            return max(0.0, self.prices.of(layers_of((*current, region))).cost - base) + EAGER

        return price

    def _prune(self, current: tuple[Region, ...]) -> tuple[Region, ...]:
        """Give back what the goal does not need: first by what was built already, then without
        single regions or with parts of them, what saves most first."""
        if not self.goal.met(self.trials.at(current)):
            return current
        current = self._cheaper_built(current)
        again = True
        while again:
            again = False
            for candidate in self._smaller(current):
                trial = self.trials.measure(candidate, "prune")
                if not trial.measured or not self._promising(trial):
                    continue
                if self.goal.met(self.trials.scored(trial)):
                    current, again = candidate, True
                    break
        return current

    def _cheaper_built(self, current: tuple[Region, ...]) -> tuple[Region, ...]:
        """What was built and passed over on the way may do as well, for less."""
        cost = self.prices.of(layers_of(current)).cost
        known = {region.name: region for region in self.regions}
        passed = sorted(
            (self.prices.of(t.float_layers).cost, t.name, t)
            for t in self.trials.all
            if t.measured and t.metric is None and dict(t.options) == self.trials.options
        )
        for price, _, trial in passed:
            if (
                price <= cost - WORTH_SAVING
                and self._promising(trial)
                and self.goal.met(self.trials.scored(trial))
            ):
                return tuple(known[name] for name in trial.regions)
        return current

    def _smaller(self, current: tuple[Region, ...]) -> list[tuple[Region, ...]]:
        """The same without one region, or with a part of one; what saves most comes first, of what
        was not tried yet."""
        cost = self.prices.of(layers_of(current)).cost
        found: list[tuple[float, tuple[Region, ...]]] = []
        for place, region in enumerate(current):
            rest = (*current[:place], *current[place + 1 :])
            inside = [r for r in self.regions if set(r.layers) < set(region.layers)]
            halves = [r for r in inside if 2 * len(r.layers) >= len(region.layers)]
            for choice in (rest, *((*rest, half) for half in halves)):
                saved = cost - self.prices.of(layers_of(choice)).cost
                if saved >= WORTH_SAVING and not self.trials.tried(layers_of(choice)):
                    found.append((saved, choice))
        noise = self.rank() if self._ranked and found else None
        if noise is not None:
            errors = noise.errors([layers_of(choice) for _, choice in found])
            base = noise.error(layers_of(current))
            keyed = [
                (decibels(float(e)) - decibels(base) + 40.0 * saved, number, choice)
                for number, ((saved, choice), e) in enumerate(zip(found, errors, strict=True))
            ]
            return [choice for _, _, choice in sorted(keyed, key=lambda k: (-k[0], k[1]))][:COMPANY]
        return [choice for _, choice in sorted(found, key=lambda f: -f[0])][:COMPANY]

    def _promising(self, trial: Trial) -> bool:
        """Whether the metric is worth asking: a build whose outputs are worse than those of one
        that already failed will fail as well."""
        failed = [
            measured_db(t) for t in self.trials.all if t.drop is not None and not self.goal.met(t)
        ]
        return self.trials.float_metric is None or measured_db(trial) > max(
            failed, default=-math.inf
        )

    def expected(self, trials: Iterable[Trial]) -> tuple[Trial, ...]:
        """Trials with what the ranking expects of them."""
        noise = self.rank()
        if noise is None:
            return tuple(trials)
        return tuple(
            dataclasses.replace(t, predicted_db=decibels(noise.error(t.float_layers)))
            for t in trials
        )

    def predicted(self) -> tuple[Trial, ...]:
        """Choices that were not built, each the best one by the ranking that holds the one before:
        what more float would promise."""
        if self.rank() is None:
            return ()
        found: list[Trial] = []
        current: tuple[Region, ...] = ()
        for _ in range(MOST_PREDICTED):
            best = self._shortlist(current, MOST_GAIN)[:1]
            if not best:
                break
            current = simplest((*current, *best))
            trial = self.trials.described(current, "predicted")
            name = f"{trial.name.partition(' [')[0]} [predicted {len(found) + 1}]"
            found.append(dataclasses.replace(trial, name=name))
        return tuple(found)

    def _best(self) -> Trial:
        """The cheapest that is good enough, else the most accurate."""
        measured = [t for t in self.trials.all if t.measured]
        if not measured:
            return self.trials.all[0]
        good = [t for t in measured if self.goal.met(t)]
        if good:
            return min(good, key=lambda t: (self.prices.of(t.float_layers).cost, t.name))
        return max(measured, key=self.goal.accuracy)


def _alike(one: Region, other: Region) -> bool:
    """Nearly the same layers: building both would tell little more than one does."""
    a, b = set(one.layers), set(other.layers)
    return len(a & b) > 0.8 * len(a | b)
