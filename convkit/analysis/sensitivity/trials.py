"""What a search builds and scores: every choice once, within a budget of builds.

A build runs on a handful of samples, which tells how well its outputs agree. The task's metric
takes the whole data set; where the first samples leave no doubt that too much is lost, those alone.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from convkit.analysis.sensitivity.glance import Glance
from convkit.analysis.sensitivity.goal import USUAL_SQNR, Goal, measured_db
from convkit.analysis.sensitivity.prices import Prices
from convkit.analysis.sensitivity.subject import Built, Subject
from convkit.engine.session import Found, Stage
from convkit.errors import ConvkitError
from convkit.evaluation import difference
from convkit.plans import OptionValue
from convkit.quant import QuantRecipe, QuantRule
from convkit.sensitivity import Phase, Region, Trial

NAMED = 2
"""So many regions are named in a trial's name."""
FULL = "nothing in float"

Key = tuple[frozenset[str], tuple[tuple[str, OptionValue], ...]]
"""Float layers and options, which make a trial."""


class BudgetSpent(Exception):
    """No further build is allowed."""


@dataclass
class Trials:
    """The trials of one search.

    Attributes:
        budget: builds at most.
        float_metric: the float model's, None without labels.
        options: of the quantizer, with which choices are built and looked up: repairs.
        evaluations, partial: see `Cost`; without the float model.
    """

    subject: Subject
    prices: Prices
    goal: Goal
    budget: int
    float_metric: float | None = None
    options: dict[str, OptionValue] = field(default_factory=dict)
    builds: int = 0
    evaluations: int = 0
    partial: float = 0.0
    _known: dict[Key, Trial] = field(default_factory=dict)
    _built: dict[Key, Built] = field(default_factory=dict)

    @property
    def all(self) -> tuple[Trial, ...]:
        """In the order in which they were thought of."""
        return tuple(self._known.values())

    def measure(self, selection: Sequence[Region], phase: Phase) -> Trial:
        """Build and run on a few samples, or remember.

        Raises:
            BudgetSpent: the budget does not allow another build.
        """
        selection = simplest(selection)
        key = self._key(layers_of(selection))
        if key in self._known:
            return self._known[key]
        if self.builds >= self.budget:
            raise BudgetSpent
        self.builds += 1
        start = time.perf_counter()
        session = self.subject.session
        trial = self.described(selection, phase)
        name = trial.name
        with session.stage(f"build {self.builds} of at most {self.budget}: {name}") as stage:
            try:
                full = None if selection or self.options else self.subject.full
                built = full or self.subject.build(_recipe(name, selection), self.options, stage)
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
        self._known[key] = trial
        return trial

    def scored(self, trial: Trial, whole: bool = False) -> Trial:
        """With the metric.

        Args:
            whole: of all the data, even where a part leaves no doubt that too much is lost.

        Raises:
            UsageError: see `Evaluator.score`.
        """
        known = trial.metric is not None and not (whole and trial.part)
        if self.float_metric is None or not trial.measured or known:
            return trial
        start = time.perf_counter()
        with self.subject.session.stage(f"scoring {trial.name}") as stage:
            found = self._built[_key_of(trial)].found
            seen = None if whole or self._hopeful(trial) else self._far_off(found, stage)
            if seen is not None:
                stage.detail = f"{seen.value:.4f} on the first {seen.samples} samples: too far off"
                trial = dataclasses.replace(
                    trial, metric=seen.value, drop=seen.drop, part=seen.samples
                )
            else:
                value = self.subject.score(found, stage)
                self.evaluations += 1
                if value is None:
                    return trial
                stage.detail = f"{value:.4f}"
                trial = dataclasses.replace(
                    trial, metric=value, drop=difference(self.float_metric, value), part=0
                )
        spent = trial.seconds + time.perf_counter() - start
        trial = self._known[_key_of(trial)] = dataclasses.replace(trial, seconds=spent)
        return trial

    def at(self, selection: Sequence[Region]) -> Trial:
        """What was measured of a choice.

        Raises:
            KeyError: nothing.
        """
        return self._known[self._key(layers_of(selection))]

    def tried(self, layers: Iterable[str]) -> bool:
        """Whether these layers were measured."""
        return self._key(layers) in self._known

    def found(self, trial: Trial) -> Found | None:
        """The model of a trial, where it was built."""
        built = self._built.get(_key_of(trial))
        return None if built is None else built.found

    def described(self, selection: Sequence[Region], phase: Phase) -> Trial:
        """What is known of a choice without building it."""
        layers = layers_of(selection)
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

    def _far_off(self, found: Found, stage: Stage) -> Glance | None:
        """What the first samples say, where they leave no doubt that more is lost than may be."""
        seen, evaluator = self.subject.glance(found, stage), self.subject.evaluator
        if seen is None or evaluator is None or self.goal.max_drop is None:
            return None
        self.partial += seen.samples / evaluator.count
        return seen if seen.least > self.goal.max_drop else None

    def _hopeful(self, trial: Trial) -> bool:
        """Whether its outputs let expect that little is lost, so that all data will be needed."""
        scored = [t for t in self._known.values() if t.drop is not None]
        if not scored:
            return measured_db(trial) >= USUAL_SQNR
        short = [(t, 0.0 if self.goal.kept(t) else self.goal.missing(t)) for t in scored]
        return any(measured_db(trial) >= measured_db(t) + missing for t, missing in short)

    def _key(self, layers: Iterable[str]) -> Key:
        return frozenset(layers), tuple(sorted(self.options.items()))


def simplest(selection: Sequence[Region]) -> tuple[Region, ...]:
    """Without regions that others hold already."""
    return tuple(
        r
        for r in selection
        if not any(o is not r and set(r.layers) <= set(o.layers) for o in selection)
    )


def layers_of(selection: Iterable[Region]) -> set[str]:
    """The layers of all regions."""
    return {name for region in selection for name in region.layers}


def _recipe(name: str, selection: Iterable[Region]) -> QuantRecipe:
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
