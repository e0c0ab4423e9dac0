"""Several models timed in one run, in turns, each in a process of its own.

Every round gives every model one turn, in an order drawn anew; `convkit.analysis.statistics` says
why that makes verdicts hold on a machine that does other work. All models get the same samples, the
same number of threads and the same cores.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from convkit.analysis import bench_notes, machine, statistics
from convkit.analysis.bench_samples import Inputs, shapes_of
from convkit.analysis.candidates import Candidate, closing, runner_of
from convkit.benchmark import Benchmark, BenchmarkRow, SpeedRatio
from convkit.engine.session import Found, Samples, Session, Stage
from convkit.errors import ConversionError, ConvkitError, UsageError

FEWEST_ROUNDS = 6
"""A run ends after these at the earliest, even if its time is over: fewer give no interval."""
ENOUGH = 100
"""Inferences below which the upper percentiles mean little; a verdict does not end the run before,
while there is time."""
WARM_SECONDS = 1.0
FLOW_ROUNDS = 3
FLOW_SECONDS = 0.3
FLOW_INFERENCES = 5
SAY_SECONDS = 0.5
"""Progress is not told more often: whoever shows it works too."""


@dataclass(frozen=True)
class BenchSettings:
    """Choices of a benchmark.

    Attributes:
        threads: of every model; 0 stands for as many as there are cores.
        seconds: measuring time per model at most; a run ends earlier where all is told.
        streams: numbers of parallel streams whose throughput is measured. A stream is a process
            of its own with its own copy of the model and its own `threads`.
        margin: differences below it count as none.
        baseline: title of the model that the others are compared with, the first where empty.
    """

    threads: int = 1
    seconds: float = 5.0
    rounds: int = statistics.MOST_ROUNDS
    streams: tuple[int, ...] = (1,)
    margin: float = 0.03
    confidence: float = 0.95
    seed: int = 0
    baseline: str = ""

    def check(self) -> None:
        """Refuse what makes no sense.

        Raises:
            UsageError: naming the setting.
        """
        faults = {
            "threads must not be negative": self.threads < 0,
            "seconds must be more than 0": not self.seconds > 0,
            f"rounds must be at least {FEWEST_ROUNDS}": self.rounds < FEWEST_ROUNDS,
            "streams must be at least 1": any(count < 1 for count in self.streams),
            "margin must lie between 0 and 1": not 0 < self.margin < 1,
            "confidence must lie between 0.5 and 1": not 0.5 <= self.confidence < 1,
        }
        for fault, present in faults.items():
            if present:
                raise UsageError(fault)


def bench_found(
    session: Session,
    models: Sequence[tuple[str, Found]],
    settings: BenchSettings = BenchSettings(),
    samples: Samples | None = None,
) -> Benchmark:
    """Time models against each other.

    A model that cannot be opened or run has its error in its row, and the others are measured all
    the same.

    Args:
        models: titles, unique, with models whose inputs are in one order, with `permutation`
            where their axes are in another one; `convkit.engine.matching` brings strangers into
            that form. One that takes other inputs is measured on inputs of its own, and a note
            says so.
        samples: what is run, in the original's axes; seeded random numbers where None.

    Raises:
        UsageError: a setting that makes no sense, or no such baseline.
    """
    start = time.perf_counter()
    settings.check()
    titles = [title for title, _ in models]
    if settings.baseline and settings.baseline not in titles:
        raise UsageError(
            f"the baseline {settings.baseline!r} is none of the models",
            hint=f"They are {', '.join(titles)}.",
        )
    run = _Run(session, settings, models, samples)
    with closing(run.opened):
        run.open()
        with session.stage(f"timing {len(run.alive)} models") as stage:
            run.measure(stage)
        return run.result(time.perf_counter() - start)


class _Run:
    """One benchmark under way."""

    def __init__(
        self,
        session: Session,
        settings: BenchSettings,
        models: Sequence[tuple[str, Found]],
        samples: Samples | None,
    ) -> None:
        self._session, self._settings, self._models = session, settings, models
        usable = machine.usable_cores()
        self._threads = settings.threads or len(usable)
        self._cores = machine.cores_for(self._threads * max(settings.streams or (1,)), usable)
        self._machine = machine.describe(session.environment, machine.load_average())
        self._inputs = Inputs(session, [found for _, found in models], samples)
        self._order = random.Random(settings.seed)
        self._errors: dict[str, ConvkitError] = {}
        self._memory: dict[str, int | None] = {}
        self._own: list[str] = []
        self.opened: list[Candidate] = []

    @property
    def alive(self) -> list[Candidate]:
        """Candidates that have not failed."""
        return [c for c in self.opened if c.title not in self._errors]

    def open(self) -> None:
        """Open all models, one after the other."""
        for title, found in self._models:
            with self._session.stage(f"opening {title}") as stage:
                try:
                    samples, own = self._inputs.of(found)
                    candidate = Candidate(
                        self._session,
                        title,
                        found,
                        runner_of(self._session, found),
                        samples,
                        self._threads,
                        self._cores,
                    )
                    self.opened.append(candidate)
                    candidate.open()
                    candidate.warm(min(WARM_SECONDS, self._settings.seconds))
                except ConvkitError as error:
                    self._errors[title] = error
                    stage.outcome, stage.detail = "failed", error.message
                    continue
                self._own += [title] if own else []

    def measure(self, stage: Stage) -> None:
        """Rounds until every verdict is certain or the time is over, then memory and streams."""
        budget = self._settings.seconds * len(self.alive)
        start, said, rounds, look = time.perf_counter(), 0.0, 0, statistics.next_look(0)
        while self.alive and rounds < self._settings.rounds:
            alive = self.alive
            for candidate in self._order.sample(alive, len(alive)):
                try:
                    candidate.turn(rounds)
                except ConvkitError as error:
                    self._errors[candidate.title] = error
                    self._session.notice(f"{candidate.title} failed: {error.message}", "warning")
            rounds += 1
            passed = time.perf_counter() - start
            if passed - said > SAY_SECONDS:
                said = passed
                stage.progress(f"round {rounds}", min(1.0, passed / budget))
            if passed > budget and rounds >= FEWEST_ROUNDS:
                break
            if rounds >= look:
                look = statistics.next_look(rounds)
                if self._told():
                    break
        stage.detail = f"{rounds} rounds"
        for candidate in self.alive:
            self._memory[candidate.title] = candidate.memory()
        self._measure_streams(stage)

    def result(self, seconds: float) -> Benchmark:
        """What was found."""
        alive = self.alive
        baseline = self._baseline()
        rows = tuple(self._row(title, found) for title, found in self._models)
        return Benchmark(
            rows=rows,
            baseline=baseline.title if baseline else "",
            threads=self._threads,
            rounds=len(baseline.turns) if baseline else 0,
            repeats=min((c.repeats for c in alive), default=0),
            machine=self._machine,
            seconds=seconds,
            shapes=shapes_of(alive[0].found.artifact, alive[0].samples) if alive else {},
            notes=bench_notes.notes(
                self._machine, self._threads, alive, rows, self._own, self._settings.baseline
            ),
        )

    def _baseline(self) -> Candidate | None:
        alive = self.alive
        named = [c for c in alive if c.title == self._settings.baseline]
        return next(iter([*named, *alive]), None)

    def _told(self) -> bool:
        """Whether nothing is left to find out."""
        baseline, settings = self._baseline(), self._settings
        return baseline is not None and all(
            sum(len(t.times) for t in c.turns) >= ENOUGH
            and (
                c is baseline
                or statistics.decided(
                    *statistics.paired(c.turns, baseline.turns),
                    settings.confidence,
                    settings.margin,
                )
            )
            for c in self.alive
        )

    def _measure_streams(self, stage: Stage) -> None:
        """A model that fails here keeps what was measured before, without a throughput."""
        counts = sorted(set(self._settings.streams))
        able = list(self.alive)

        def attempt(candidate: Candidate, action: Callable[[], None]) -> None:
            try:
                action()
            except ConvkitError as error:
                able.remove(candidate)
                candidate.flows.clear()
                said = f"no throughput of {candidate.title}: {error.message}"
                self._session.notice(said, "warning")

        for candidate in self.alive:
            for _ in range(max(counts, default=0) - 1):
                if candidate in able:
                    attempt(candidate, candidate.open)
        for _ in range(FLOW_ROUNDS):
            for count in counts:
                stage.progress(f"throughput of {count} stream{'s' * (count > 1)}", None)
                for candidate in self._order.sample(able, len(able)):
                    seconds = max(FLOW_SECONDS, FLOW_INFERENCES * candidate.typical)
                    attempt(candidate, lambda: candidate.flow(count, seconds))  # noqa: B023

    def _row(self, title: str, found: Found) -> BenchmarkRow:
        artifact = found.artifact
        error = self._errors.get(title)
        candidate = next((c for c in self.opened if c.title == title), None)
        if error is not None or candidate is None or not candidate.turns:
            error = error or ConversionError("it was not measured")
            return BenchmarkRow(
                title=title,
                state=str(artifact.state),
                path=str(artifact.path),
                size_bytes=artifact.size_bytes,
                runner=candidate.runner.name if candidate else "",
                error=error.message,
                hint=error.hint,
            )
        flows = {str(n): sorted(f)[len(f) // 2] for n, f in sorted(candidate.flows.items())}
        return BenchmarkRow(
            title=title,
            state=str(artifact.state),
            path=str(artifact.path),
            size_bytes=artifact.size_bytes,
            runner=candidate.runner.name,
            versions=self._session.versions(candidate.runner.requirements),
            load_seconds=candidate.load_seconds,
            first_seconds=candidate.first_seconds,
            peak_bytes=self._memory.get(title),
            latency=statistics.latency(candidate.turns),
            throughput=flows,
            ratio=self._ratio(candidate),
        )

    def _ratio(self, candidate: Candidate) -> SpeedRatio | None:
        baseline, settings = self._baseline(), self._settings
        if baseline is None or candidate is baseline:
            return None
        return statistics.compare(
            *statistics.paired(candidate.turns, baseline.turns),
            baseline.title,
            settings.confidence,
            settings.margin,
        )
