"""The search for what to keep in float, under a declared number of builds.

The ranking says where to look: it shortlists regions in company of those chosen already. A few real
builds decide each step, on a handful of samples; the task's metric is asked only once a step is
made. At the end, what buys nothing is given back.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from convkit.analysis.sensitivity.goal import LEAST_GAIN, Goal, measured_db
from convkit.analysis.sensitivity.noise import Noise
from convkit.analysis.sensitivity.prices import Prices
from convkit.analysis.sensitivity.regions import LIGHT
from convkit.analysis.sensitivity.subject import Built, Subject
from convkit.engine.session import Found
from convkit.errors import ConvkitError
from convkit.plans import OptionValue
from convkit.quant import QuantRecipe, QuantRule
from convkit.sensitivity import Phase, Region, Trial, decibels

COMPANY = 4
"""Regions built in one step: the shortlist is good, not perfect."""
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
NAMED = 2
"""So many regions are named in a trial's name."""
FULL = "nothing in float"


Key = tuple[frozenset[str], tuple[tuple[str, OptionValue], ...]]
"""Float layers and options, which make a trial."""


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


class _Spent(Exception):
    """The budget is used up."""


@dataclass
class Search:
    """One search.

    Attributes:
        rank: what the ranking expects; asked when regions have to be chosen, since it costs more
            than a build. None where no ranker could tell anything; structure decides then.
        float_metric: the float model's, None without labels.
        budget: builds at most.
        fits: whether limits leave room for so many layers in float, as far as can be told.
    """

    subject: Subject
    regions: Sequence[Region]
    prices: Prices
    rank: Callable[[], Noise | None]
    goal: Goal
    budget: int
    float_metric: float | None = None
    fits: Callable[[Collection[str]], bool] = lambda layers: True
    trials: dict[Key, Trial] = field(default_factory=dict)
    options: dict[str, OptionValue] = field(default_factory=dict)
    builds: int = 0
    evaluations: int = 0
    _built: dict[Key, Built] = field(default_factory=dict)
    _ranked: bool = False

    def run(self) -> Trial:
        """Search; the answer is the choice, and `trials` has everything that was tried."""
        with self._budgeted():
            best = self.baseline()
            if not self.goal.met(best):
                current = self._repair(self._begin(best))
                current = self._grow(current)
                self._prune(current)
        return self._best()

    def baseline(self) -> Trial:
        """Everything in integers, measured."""
        return self.scored(self._measure((), "baseline"))

    def further(self, trial: Trial) -> None:
        """Add regions to a trial for as long as they gain anything and fit."""
        known = {region.name: region for region in self.regions}
        self.options = dict(trial.options)
        with self._budgeted():
            self._grow(tuple(known[name] for name in trial.regions))

    @contextmanager
    def _budgeted(self) -> Iterator[None]:
        try:
            yield
        except _Spent:
            self.subject.session.notice(
                f"the budget of {self.budget} builds is used up: this is the best so far", "warning"
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
            trial = self._measure((region,), "ladder")
            if trial.measured and measured_db(trial) >= measured_db(best) + gain:
                best, chosen = self.scored(trial), (region,)
        return chosen

    def _repair(self, current: tuple[Region, ...]) -> tuple[Region, ...]:
        """Options of the quantizer that make it more accurate for nothing, kept where they do."""
        for name, value in self.subject.repairs:
            if self.goal.met(self._at(current)):
                break
            before, kept = self._at(current), dict(self.options)
            self.options[name] = value
            trial = self._measure(current, "repair")
            if not trial.measured or measured_db(trial) < measured_db(before) + REPAIR_GAIN:
                self.options = kept
            else:
                self.scored(trial)
        return current

    def _grow(self, current: tuple[Region, ...]) -> tuple[Region, ...]:
        """Add regions until the goal is met or nothing gains any more."""
        while not self.goal.met(self._at(current)):
            here = self._at(current)
            needed, worth = self.goal.missing(here), self._worth(current)
            tried = [
                (region, self._measure((*current, region), "search"))
                for region in self._shortlist(current, needed)
            ]
            gains = [
                _Gain(r, measured_db(t) - measured_db(here), worth(r))
                for r, t in tried
                if t.measured
            ]
            gains = [gain for gain in gains if gain.decibels >= LEAST_GAIN]
            if not gains:
                break
            best = min(gains, key=lambda gain: gain.rank(needed))
            current = self._simplest((*current, best.region))
            self.scored(self._at(current))
        return current

    def _shortlist(self, current: tuple[Region, ...], needed: float) -> list[Region]:
        """The regions that promise most beside those chosen: by turns the cheapest that promise
        enough, and those that promise most."""
        kept = _layers(current)
        fresh = [r for r in self.regions if not set(r.layers) <= kept]
        fresh = [r for r in fresh if self._key({*kept, *r.layers}) not in self.trials]
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
        base = self.prices.of(_layers(current)).cost

        def price(region: Region) -> float:
            return max(0.0, self.prices.of(_layers((*current, region))).cost - base) + EAGER

        return price

    def _prune(self, current: tuple[Region, ...]) -> tuple[Region, ...]:
        """Give back what the goal does not need: first by what was built already, then without
        single regions or with parts of them, what saves most first."""
        if not self.goal.met(self._at(current)):
            return current
        current = self._cheaper_built(current)
        again = True
        while again:
            again = False
            for candidate in self._smaller(current):
                trial = self._measure(candidate, "prune")
                if not trial.measured or not self._promising(trial):
                    continue
                if self.goal.met(self.scored(trial)):
                    current, again = candidate, True
                    break
        return current

    def _cheaper_built(self, current: tuple[Region, ...]) -> tuple[Region, ...]:
        """What was built and passed over on the way may do as well, for less."""
        cost = self.prices.of(_layers(current)).cost
        known = {region.name: region for region in self.regions}
        passed = sorted(
            (self.prices.of(t.float_layers).cost, t.name, t)
            for t in self.trials.values()
            if t.measured and t.metric is None and dict(t.options) == self.options
        )
        for price, _, trial in passed:
            if (
                price <= cost - WORTH_SAVING
                and self._promising(trial)
                and self.goal.met(self.scored(trial))
            ):
                return tuple(known[name] for name in trial.regions)
        return current

    def _smaller(self, current: tuple[Region, ...]) -> list[tuple[Region, ...]]:
        """The same without one region, or with a part of one; what saves most comes first, of what
        was not tried yet."""
        cost = self.prices.of(_layers(current)).cost
        found: list[tuple[float, tuple[Region, ...]]] = []
        for place, region in enumerate(current):
            rest = (*current[:place], *current[place + 1 :])
            inside = [r for r in self.regions if set(r.layers) < set(region.layers)]
            halves = [r for r in inside if 2 * len(r.layers) >= len(region.layers)]
            for choice in (rest, *((*rest, half) for half in halves)):
                saved = cost - self.prices.of(_layers(choice)).cost
                if saved >= WORTH_SAVING and self._key(_layers(choice)) not in self.trials:
                    found.append((saved, choice))
        noise = self.rank() if self._ranked and found else None
        if noise is not None:
            errors = noise.errors([_layers(choice) for _, choice in found])
            base = noise.error(_layers(current))
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
            measured_db(t)
            for t in self.trials.values()
            if t.drop is not None and not self.goal.met(t)
        ]
        return self.float_metric is None or measured_db(trial) > max(failed, default=-math.inf)

    def _at(self, selection: tuple[Region, ...]) -> Trial:
        return self.trials[self._key(_layers(selection))]

    def _key(self, layers: Iterable[str]) -> Key:
        return frozenset(layers), tuple(sorted(self.options.items()))

    def _simplest(self, selection: tuple[Region, ...]) -> tuple[Region, ...]:
        """Without regions that others hold already."""
        return tuple(
            r
            for r in selection
            if not any(o is not r and set(r.layers) <= set(o.layers) for o in selection)
        )

    def _measure(self, selection: tuple[Region, ...], phase: Phase) -> Trial:
        """Build and run on a few samples, or remember.

        Raises:
            _Spent: the budget does not allow another build.
        """
        selection = self._simplest(selection)
        key = self._key(_layers(selection))
        if key in self.trials:
            return self.trials[key]
        if self.builds >= self.budget:
            raise _Spent
        self.builds += 1
        start = time.perf_counter()
        session = self.subject.session
        trial = self._described(selection, phase)
        name = trial.name
        with session.stage(f"build {self.builds} of at most {self.budget}: {name}") as stage:
            try:
                full = None if selection or self.options else self.subject.full
                built = full or self.subject.build(recipe(name, selection), self.options, stage)
            except ConvkitError as error:
                stage.outcome, stage.detail = "failed", error.message
                trial = dataclasses.replace(trial, error=error.message)
            else:
                self._built[key] = built
                stage.detail = f"{built.sqnr_db:.1f} dB"
                trial = dataclasses.replace(
                    trial,
                    sqnr_db=built.sqnr_db,
                    size_bytes=built.found.artifact.size_bytes,
                    seconds=time.perf_counter() - start,
                )
        self.trials[key] = trial
        return trial

    def scored(self, trial: Trial) -> Trial:
        """With the metric on the whole data set."""
        key = _key_of(trial)
        if self.float_metric is None or not trial.measured or trial.metric is not None:
            return trial
        start = time.perf_counter()
        with self.subject.session.stage(f"scoring {trial.name}") as stage:
            value = self.subject.score(self._built[key].found, stage)
            stage.detail = "" if value is None else f"{value:.4f}"
        self.evaluations += 1
        if value is not None:
            spent = trial.seconds + time.perf_counter() - start
            trial = dataclasses.replace(
                trial, metric=value, drop=self.float_metric - value, seconds=spent
            )
        self.trials[key] = trial
        return trial

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
            current = self._simplest((*current, *best))
            trial = self._described(current, "predicted")
            name = f"{trial.name.partition(' [')[0]} [predicted {len(found) + 1}]"
            found.append(dataclasses.replace(trial, name=name))
        return tuple(found)

    def _described(self, selection: tuple[Region, ...], phase: Phase) -> Trial:
        """What is known of a choice without building it."""
        layers = _layers(selection)
        price = self.prices.of(layers)
        order = {layer.name: place for place, layer in enumerate(self.subject.layers)}
        return Trial(
            name=_name(selection, self.options, self.builds),
            options=dict(self.options),
            regions=tuple(r.name for r in selection),
            float_layers=tuple(sorted(layers, key=order.__getitem__)),
            phase=phase,
            float_macs=price.float_macs,
            price=price.cost,
            islands=price.islands,
        )

    def found(self, trial: Trial) -> Found | None:
        """The model of a trial, where it was built."""
        built = self._built.get(_key_of(trial))
        return None if built is None else built.found

    def _best(self) -> Trial:
        """The cheapest that is good enough, else the most accurate."""
        measured = [t for t in self.trials.values() if t.measured]
        if not measured:
            return next(iter(self.trials.values()))
        good = [t for t in measured if self.goal.met(t)]
        if good:
            return min(good, key=lambda t: (self.prices.of(t.float_layers).cost, t.name))
        return max(measured, key=self.goal.accuracy)


def recipe(name: str, selection: Iterable[Region]) -> QuantRecipe:
    """What a quantizer is told."""
    return QuantRecipe(name, tuple(QuantRule(r.layers, f"{r.name}: {r.reason}") for r in selection))


def _name(selection: Sequence[Region], options: Mapping[str, OptionValue], number: int) -> str:
    """Short, and unique by the number of the build where it does not say all."""
    name = " + ".join(region.name for region in selection[:NAMED]) or FULL
    if len(selection) > NAMED:
        name += f" + {len(selection) - NAMED} more [{number}]"
    said = ", ".join(f"{key}={value}" for key, value in sorted(options.items()))
    return f"{name} ({said})" if said else name


def _key_of(trial: Trial) -> Key:
    return frozenset(trial.float_layers), tuple(sorted(trial.options.items()))


def _layers(selection: Iterable[Region]) -> set[str]:
    return {name for region in selection for name in region.layers}


def _alike(one: Region, other: Region) -> bool:
    """Nearly the same layers: building both would tell little more than one does."""
    a, b = set(one.layers), set(other.layers)
    return len(a & b) > 0.8 * len(a | b)
