"""What is known of every model of a comparison: made, scored, timed, looked into."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from convkit import __version__
from convkit.analysis.bench import BenchSettings, bench_found
from convkit.analysis.delegates import delegate_maps
from convkit.analysis.drift import drift
from convkit.analysis.evaluate import evaluate_found
from convkit.analysis.gates import Gates, judge
from convkit.analysis.pareto import front
from convkit.analysis.profile import profile_found, profilers
from convkit.analysis.titles import titles_of
from convkit.api.run import Run, output_place
from convkit.artifact import ReadOptions, State
from convkit.benchmark import Benchmark, BenchmarkRow
from convkit.codec import decode
from convkit.comparison import Compared, Comparison
from convkit.delegates import DelegateMap, ExecutionProfile
from convkit.engine.calibrate import CalibrationRequest
from convkit.engine.evaluate import Evaluator
from convkit.engine.matching import matched
from convkit.engine.outcomes import Outcome
from convkit.engine.publish import publish
from convkit.engine.records import record
from convkit.engine.session import Found, Samples, Session
from convkit.engine.sources import load
from convkit.errors import ConvkitError
from convkit.evaluation import Evaluation, EvaluationRow
from convkit.kit import Kit
from convkit.manifest import Failure, Manifest, manifest_path
from convkit.plans import Rejection

R = TypeVar("R", EvaluationRow, BenchmarkRow)


@dataclass
class Board:
    """What is known of each model, by title."""

    session: Session
    source: Found
    path: Path
    stem: str
    models: dict[str, Compared] = field(default_factory=dict)
    found: dict[str, Found] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    evaluation: Evaluation | None = None
    benchmark: Benchmark | None = None
    delegates: list[DelegateMap] = field(default_factory=list)
    profiles: list[ExecutionProfile] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    drift: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.original = f"{self.source.state} (original)"
        artifact = self.source.artifact
        self.models[self.original] = Compared(
            self.original,
            str(self.source.state),
            f"{self.stem}{self.path.suffix}",
            artifact.size_bytes,
            self.source.inspection.state.precision,
        )
        self.found[self.original] = self.source

    def make(
        self,
        run: Run,
        states: Sequence[State],
        request: CalibrationRequest,
        folder: Path | None,
        overwrite: bool,
    ) -> None:
        """Make every target that can be made.

        Raises:
            ConvkitError: there were targets, and none could be made.
        """
        places = {
            s: output_place(run.kit, folder, self.stem, s, self.path, overwrite)
            for s in (states if folder is not None else ())
            if folder is not None
        }
        errors: dict[State, ConvkitError] = {}
        for state in states:
            try:
                run.check(state, request)
            except ConvkitError as error:
                errors[state] = error
        if len(errors) < len(states) or not states:
            run.prepare(request)
        for state in states:
            try:
                if state not in errors:
                    self._made(state, run.reach(state), places.get(state))
            except ConvkitError as error:
                errors[state] = error
            if state in errors:
                self._failed(str(state), str(state), "", errors[state])
            self.rejected += run.plan(state).rejections
        if errors and len(errors) == len(states):
            raise next(iter(errors.values()))

    def add(self, kit: Kit, files: Sequence[Path], read: ReadOptions) -> None:
        """Further models, that were made before."""
        for title, file in zip(titles_of(files), files, strict=True):
            try:
                found = load(self.session, file, kit.format_of(file, None), read)
                artifact = matched(self.source.artifact, found.artifact)
            except ConvkitError as error:
                self._failed(title, "", str(file), error)
                continue
            self.found[title] = Found(artifact, found.inspection)
            note = manifest_path(file)
            self.models[title] = Compared(
                title,
                str(found.state),
                str(file),
                artifact.size_bytes,
                found.inspection.state.precision,
                _manifest(note) if note.is_file() else None,
            )

    def evaluate(self, metric: str, data: Path, limit: int | None, picture: Path) -> None:
        """Score them all; what drifts among the float ones is traced to a hop."""
        others = [(t, f) for t, f in self.found.items() if t != self.original]
        reference = (self.original, self.source)
        evaluation = evaluate_found(self.session, metric, data, reference, others, limit, picture)

        def score(found: Found) -> float | None:
            try:
                result = Evaluator(self.session, metric, data, self.source, limit).score(found)
            except ConvkitError:
                return None
            return None if result is None else result.result.value

        self.drift = drift(evaluation, self.outcomes, score)
        missing = tuple(
            EvaluationRow(m.title, m.state, m.path, m.size_bytes, error=m.error, hint=m.hint)
            for m in self.models.values()
            if m.error
        )
        self.evaluation = dataclasses.replace(
            evaluation, rows=self._placed(evaluation.rows) + missing
        )

    def bench(self, settings: BenchSettings, samples: Samples | None) -> None:
        """Time them all, the original first."""
        benchmark = bench_found(self.session, list(self.found.items()), settings, samples)
        missing = tuple(
            BenchmarkRow(m.title, m.state, m.path, m.size_bytes, error=m.error, hint=m.hint)
            for m in self.models.values()
            if m.error
        )
        self.benchmark = dataclasses.replace(benchmark, rows=self._placed(benchmark.rows) + missing)

    def look_inside(self) -> None:
        """Delegate maps where there are rules for the format, and profiles of integer models."""
        ruled = {rules.format for rules in self.session.registry.delegate_rules.values()}
        for title, found in self.found.items():
            try:
                if found.state.format in ruled:
                    self.delegates += delegate_maps(self.session, title, found)
                if "int8" in found.state.precision and profilers(self.session, found.state.format):
                    with self.session.stage(f"profiling {title}") as stage:
                        self.profiles.append(profile_found(self.session, title, found, stage=stage))
            except ConvkitError as error:
                self.session.notice(f"{title}: {error.message}", "warning")

    def result(self, gates: Gates, run: Run, seconds: float) -> Comparison:
        """All of it, judged."""
        best = front(self.evaluation, self.benchmark)
        failed: dict[Failure, None] = {}
        for outcome in self.outcomes.values():
            failed.update(dict.fromkeys(outcome.failed))
        return Comparison(
            title=f"{self.stem}{self.path.suffix}",
            convkit=__version__,
            models=tuple(
                dataclasses.replace(m, pareto=m.title in best) for m in self.models.values()
            ),
            evaluation=self.evaluation,
            benchmark=self.benchmark,
            delegates=tuple(self.delegates),
            profiles=tuple(self.profiles),
            rejected=tuple(dict.fromkeys(self.rejected)),
            failed=tuple(failed),
            gates=judge(gates, self.evaluation, self.benchmark),
            drift=self.drift,
            seconds={"total": seconds},
        )

    def _placed(self, rows: Sequence[R]) -> tuple[R, ...]:
        """The rows with the models' own places: that of the store is nobody's business."""
        return tuple(dataclasses.replace(r, path=self.models[r.title].path) for r in rows)

    def _made(self, state: State, outcome: Outcome, place: Path | None) -> None:
        title = str(state)
        final = outcome.final
        manifest = record(self.session, self.source, f"{self.stem}{self.path.suffix}", outcome)
        if place is not None:
            home = self.session.registry.formats[state.format]
            publish(final.artifact, manifest, place, home, self.session.renamer(state.format))
        self.outcomes[title] = outcome
        self.found[title] = final
        self.models[title] = Compared(
            title,
            str(final.state),
            str(place) if place is not None else "",
            manifest.size_bytes,
            manifest.precision,
            manifest,
        )

    def _failed(self, title: str, state: str, path: str, error: ConvkitError) -> None:
        self.models[title] = Compared(title, state, path, 0, error=error.message, hint=error.hint)


def _manifest(path: Path) -> Manifest | None:
    try:
        found: Manifest = decode(Manifest, json.loads(path.read_text("utf-8")))
    except (ValueError, TypeError, OSError):
        return None
    return found
