"""One analysis from beginning to end: rank, propose, search, time, tell."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from convkit import __version__
from convkit.analysis.sensitivity import tap
from convkit.analysis.sensitivity.filling import fill
from convkit.analysis.sensitivity.goal import USUAL_SQNR, Goal
from convkit.analysis.sensitivity.limits import Limits
from convkit.analysis.sensitivity.noise import Noise
from convkit.analysis.sensitivity.prices import Prices
from convkit.analysis.sensitivity.ranking import Effects, completed, effects, trace
from convkit.analysis.sensitivity.regions import propose
from convkit.analysis.sensitivity.search import Search
from convkit.analysis.sensitivity.subject import Subject
from convkit.analysis.sensitivity.telling import noisy, notes
from convkit.analysis.sensitivity.trials import Trials
from convkit.engine.session import Found, Samples
from convkit.errors import ConversionError, ConvkitError, UsageError
from convkit.sensitivity import Cost, Sensitivity, SensitivityRow, Trial, error_power

TIMED = 6
"""So many trials are timed, besides the float model and everything in integers."""
USUAL_DROP = 0.005
UNEXPLAINED = 4.0
"""So many times the expected error is more than the ranking's own inaccuracy explains."""


class NothingBuiltError(ConversionError):
    """A quantizer failed, whatever was kept in float."""


@dataclass(frozen=True)
class AnalysisSettings:
    """What the user wants, and may be spent.

    Attributes:
        max_drop: of the metric against the float model; 0.005 where nothing is said.
        min_sqnr: in dB; how well the outputs must agree with the float model's. With a metric both
            are asked for; without one, 20 dB where nothing else is said.
        max_time: of one inference over the float model's; None for any.
        max_size: of the file in bytes; None for any. Where limits on time and size are all that is
            given, the most accurate choice that keeps them is looked for, not the cheapest one that
            is accurate enough.
        budget: quantized models that may be built.
        timing: whether the best ones are timed.
        ranking: whether layers are ranked even where the first builds are good enough.
    """

    max_drop: float | None = None
    min_sqnr: float | None = None
    max_time: float | None = None
    max_size: int | None = None
    budget: int = 40
    timing: bool = True
    ranking: bool = True

    @property
    def drop(self) -> float:
        """What the metric may lose, said or usual."""
        return USUAL_DROP if self.max_drop is None else self.max_drop

    @property
    def fills(self) -> bool:
        """Whether the most accurate choice is looked for."""
        limited = self.max_time is not None or self.max_size is not None
        return limited and self.max_drop is None and self.min_sqnr is None

    def check(self) -> None:
        """Refuse what makes no sense.

        Raises:
            UsageError: naming the setting.
        """
        faults = {
            "--max-drop must not be negative": self.drop < 0,
            "--budget must be at least 1": self.budget < 1,
            "--max-time must be more than 0": self.max_time is not None and self.max_time <= 0,
            "--max-size must be more than 0": self.max_size is not None and self.max_size <= 0,
        }
        for fault, present in faults.items():
            if present:
                raise UsageError(fault)


def analyze_subject(
    subject: Subject,
    settings: AnalysisSettings,
    model: str,
    samples: Samples,
    differentiable: Callable[[str], Found],
) -> Sensitivity:
    """Find what to keep in float.

    Args:
        model: the source's name, for the report.
        samples: that the ranking looks at.
        differentiable: see `convkit.analysis.sensitivity.ranking.effects`.

    Raises:
        UsageError: a setting that makes no sense, or a metric that cannot judge.
        NothingBuiltError: the quantizer failed whatever stays in float.
    """
    start = time.perf_counter()
    settings.check()
    evaluator = subject.evaluator
    metric, data = (evaluator.metric, str(evaluator.data)) if evaluator else ("", "")
    session, twin = subject.session, subject.approach.twin
    float_metric = subject.float_score()
    warnings = _doubts(subject, float_metric, settings)
    layers = subject.layers
    integer = subject.integer
    goal = _goal(settings, float_metric is not None)
    ranking = _Ranking(subject, samples, differentiable)
    prices = Prices(layers, integer, _sizes(subject))
    limits = Limits(subject, prices, settings.max_time, settings.max_size)
    search = Search(
        Trials(subject, prices, goal, settings.budget, float_metric),
        propose(layers, integer, session.registry.exclusion_rules.values()),
        ranking.noise,
    )
    chosen = fill(search, limits) if goal.most else search.run()
    if not any(trial.measured for trial in search.trials.all):
        name = subject.approach.step.converter
        raise NothingBuiltError(f"{name} could build nothing that runs: {chosen.error}")
    trials = search.trials.all
    if settings.timing:
        limits.measure(_worth_timing(trials, chosen, limits), search.trials.found)
    trials, chosen = _settled(search, chosen, limits, goal)
    noise, found = None, Effects()
    if settings.ranking or ranking.asked:
        noise, found = ranking.noise(), ranking.found
        trials = limits.told(search.expected((*trials, *search.predicted())))
    used = {name for trial in trials for name in trial.regions}
    seconds = time.perf_counter() - start
    report = Sensitivity(
        convkit=__version__,
        model=model,
        target=str(subject.approach.step.target),
        converter=subject.approach.step.converter,
        ranker=found.ranker,
        samples=samples.count,
        float_size=twin.artifact.size_bytes,
        reached=goal.kept(chosen) and limits.kept(chosen),
        chosen=chosen.name,
        rows=_rows(subject, noise, chosen),
        regions=tuple(region for region in search.regions if region.name in used),
        trials=trials,
        front=front(trials),
        metric=metric,
        data=data,
        float_metric=float_metric,
        max_drop=settings.drop if metric else None,
        min_sqnr=goal.min_sqnr,
        max_time=settings.max_time,
        max_size=settings.max_size,
        filled=goal.most,
        cost=Cost(
            found.float_passes,
            found.forward,
            found.backward,
            search.trials.builds,
            search.trials.evaluations + (float_metric is not None),
            search.trials.partial,
            settings.budget,
            seconds,
        ),
        warnings=(*warnings, *noisy(trials, settings.drop)),
        asked=subject.asked,
    )
    return dataclasses.replace(report, notes=notes(report))


def _goal(settings: AnalysisSettings, scored: bool) -> Goal:
    """
    Args:
        scored: there is a metric.
    """
    if not scored:
        least = USUAL_SQNR if settings.min_sqnr is None else settings.min_sqnr
        return Goal(None, least, settings.fills)
    return Goal(settings.drop, settings.min_sqnr, settings.fills)


class _Ranking:
    """The ranking of one subject, made when it is asked for."""

    def __init__(
        self, subject: Subject, samples: Samples, differentiable: Callable[[str], Found]
    ) -> None:
        self._subject, self._samples = subject, samples
        self._differentiable = differentiable
        self.found = Effects()
        self.asked = False
        self._noise: Noise | None = None

    def noise(self) -> Noise | None:
        """What it expects; where everything in integers is far worse than that, with the rest laid
        upon the layers that seem to be to blame. None where nothing could be ranked."""
        if not self.asked:
            self.asked = True
            self._noise = self._made()
        return self._noise

    def _made(self) -> Noise | None:
        subject, twin = self._subject, self._subject.approach.twin
        session, full = subject.session, subject.full
        self.found = found = effects(
            session,
            subject.source,
            twin,
            self._samples,
            self._differentiable,
            full.found if full else None,
        )
        if not found.ranker:
            said = f"layers cannot be ranked: {found.reason}; structure decides"
            session.notice(said, "warning")
            return None
        if found.reason:
            session.notice(f"layers are ranked without gradients: {found.reason}", "warning")
        layers, integer = subject.layers, subject.integer
        noise = Noise(layers, integer, found.tensors, found.weights, found.anchors)
        if found.ranker == tap.NAME or full is None:
            return noise
        measured, expected = error_power(full.sqnr_db), noise.error([])
        if not UNEXPLAINED * expected < measured < float("inf"):
            return noise
        missing = measured - expected
        more = completed(session, found, twin, full.found, self._samples, missing)
        return Noise(layers, integer, more.tensors, more.weights, more.anchors)


def _doubts(
    subject: Subject, float_metric: float | None, settings: AnalysisSettings
) -> tuple[str, ...]:
    """What makes the metric a bad judge of so small a drop.

    Raises:
        UsageError: two scores of the same outputs differ by more than the drop allowed.
    """
    evaluator = subject.evaluator
    if evaluator is None or float_metric is None:
        return ()
    again = subject.score(subject.source)
    if again is not None and abs(again - float_metric) > settings.drop:
        raise UsageError(
            f"the metric is noisier than --max-drop {settings.drop:g}: twice on the same"
            f" outputs it gave {float_metric:.6g} and {again:.6g}",
            hint="Seed what is random in it, score more samples, or allow a larger drop.",
        )
    found = []
    if again is not None and again != float_metric:
        found.append(
            f"the metric is not deterministic: {float_metric:.6g} and {again:.6g} on the same"
            " outputs"
        )
    if 0.0 < evaluator.count * settings.drop < 1.0:
        found.append(
            f"{evaluator.count} samples are few for a drop of {settings.drop:g}: a single one"
            f" decides about {1 / evaluator.count:.2g}"
        )
    return tuple(found)


def _sizes(subject: Subject) -> dict[str, int]:
    """Elements of the float model's tensors; of none where its runtime does not show its inside."""
    session, twin = subject.session, subject.approach.twin
    try:
        with session.stage("sizes of all tensors") as stage, session.store.scratch() as folder:
            nodes = trace(session, twin, subject.samples, folder, stage).nodes
    except ConvkitError as error:
        session.notice(f"only multiply-accumulates are priced: {error.message}")
        return {}
    return {node.tensor: node.sketch.size for node in nodes if node.tensor}


def _worth_timing(trials: Sequence[Trial], chosen: Trial, limits: Limits) -> list[Trial]:
    """The choice, everything in integers and the best ones."""
    wanted = {t.name for t in trials if t.name == chosen.name or t.phase == "baseline"}
    for name in front(trials):
        if len(wanted) < TIMED:
            wanted.add(name)
    return [trial for trial in trials if trial.name in wanted and not limits.timed(trial)]


def _settled(
    search: Search, chosen: Trial, limits: Limits, goal: Goal
) -> tuple[tuple[Trial, ...], Trial]:
    """All trials and the choice, which was scored on all the data."""
    while True:
        trials = limits.told(search.trials.all)
        chosen = _choice(trials, chosen, limits, goal)
        if not chosen.part:
            return trials, chosen
        search.trials.scored(chosen, whole=True)


def _choice(trials: Sequence[Trial], chosen: Trial, limits: Limits, goal: Goal) -> Trial:
    """The choice of the search, unless limits on time or size rule it out."""
    chosen = next(t for t in trials if t.name == chosen.name)
    fitting = [t for t in trials if t.measured and limits.kept(t)]
    if limits.kept(chosen) or not fitting:
        return chosen
    good = [t for t in fitting if goal.met(t)]
    if good:
        return min(good, key=lambda t: (t.price or 0.0, t.name))
    return max(fitting, key=goal.accuracy)


def front(trials: Sequence[Trial]) -> tuple[str, ...]:
    """Names of measured trials that no other beats in accuracy and in price, the cheapest first.
    Accuracy is the metric where all that have one are compared, else the SQNR."""
    measured = [t for t in trials if t.measured and t.sqnr_db is not None]
    scored = [t for t in measured if t.drop is not None]
    candidates = scored or measured

    def loss(trial: Trial) -> float:
        return trial.drop if trial.drop is not None else -(trial.sqnr_db or 0.0)

    ordered = sorted(candidates, key=lambda t: (t.price or 0.0, t.islands, loss(t)))
    best: list[Trial] = []
    for trial in ordered:
        if not best or loss(trial) < loss(best[-1]):
            best.append(trial)
    return tuple(t.name for t in best)


def _rows(subject: Subject, noise: Noise | None, chosen: Trial) -> tuple[SensitivityRow, ...]:
    kept = set(chosen.float_layers)
    in_integers = subject.integer
    rows = []
    for layer in subject.layers:
        activation, weights = noise.alone[layer.name] if noise is not None else (None, None)
        rows.append(
            SensitivityRow(
                layer=layer.name,
                op_type=layer.op_type,
                scope=layer.scope,
                activation=activation,
                weights=weights,
                macs=layer.macs,
                parameter_count=layer.parameter_count,
                integer=layer.name in in_integers,
                kept=layer.name in kept,
            )
        )
    return tuple(rows)
