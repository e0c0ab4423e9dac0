"""Limits on time and size: what choices take, measured or told from their price."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence

from convkit.analysis.bench import BenchSettings, bench_found
from convkit.analysis.sensitivity.prices import Prices
from convkit.analysis.sensitivity.subject import Subject
from convkit.benchmark import SpeedRatio
from convkit.engine.session import Found
from convkit.errors import ConvkitError
from convkit.sensitivity import Trial

FLOAT = "float"
TIMING_SECONDS = 2.0
WEIGHT_BYTES = 3
"""A weight in float32 takes so many bytes more than one in int8."""


class Limits:
    """Of one analysis.

    The time of what was not measured is told from its price: in a straight line from the baseline,
    everything in integers, as steep as what was measured says, or else up to the float model.
    """

    def __init__(
        self, subject: Subject, prices: Prices, max_time: float | None, max_size: int | None
    ) -> None:
        """
        Args:
            max_time: over the float model's; None for any.
            max_size: in bytes; None for any.
        """
        self._subject, self._prices = subject, prices
        self.max_time, self.max_size = max_time, max_size
        self._weights = {layer.name: layer.parameter_count for layer in subject.layers}
        self._times: dict[str, SpeedRatio] = {}
        self._tried: set[str] = set()

    def measure(self, trials: Sequence[Trial], built: Callable[[Trial], Found | None]) -> None:
        """Time trials beside the float model, all of them together.

        Args:
            built: a trial's model, where it was built.
        """
        found = {trial.name: built(trial) for trial in trials}
        models = [(name, model) for name, model in found.items() if model is not None]
        self._tried |= set(found)
        if not models:
            return
        subject = self._subject
        settings = BenchSettings(seconds=TIMING_SECONDS, streams=(), baseline=FLOAT)
        try:
            benchmark = bench_found(
                subject.session,
                [(FLOAT, subject.approach.twin), *models],
                settings,
                subject.samples,
            )
        except ConvkitError as error:
            subject.session.notice(f"nothing could be timed: {error.message}", "warning")
            return
        rows = {name: benchmark.row(name) for name, _ in models}
        self._times |= {n: row.ratio for n, row in rows.items() if row and row.ratio is not None}

    def timed(self, trial: Trial) -> bool:
        """Whether that was tried already."""
        return trial.name in self._tried

    def told(self, trials: Sequence[Trial]) -> tuple[Trial, ...]:
        """Trials with their times, measured and predicted."""
        line = self._line(trials)
        return tuple(self._told(trial, line) for trial in trials)

    def _told(self, trial: Trial, line: tuple[float, float, float] | None) -> Trial:
        ratio = self._times.get(trial.name)
        if ratio is not None:
            trial = dataclasses.replace(
                trial, time=ratio.value, time_low=ratio.low, time_high=ratio.high
            )
        if line is None:
            return trial
        return dataclasses.replace(trial, predicted_time=self._time(trial.float_layers, line))

    def room(self, trials: Sequence[Trial]) -> Callable[[Collection[str]], bool]:
        """Whether layers may stay in float, as far as can be told before they are built."""
        line = self._line(trials)
        full = next((t for t in trials if t.phase == "baseline" and t.size_bytes), None)

        def fits(layers: Collection[str]) -> bool:
            told = Trial("", predicted_time=0.0 if line is None else self._time(layers, line))
            if full is not None and full.size_bytes is not None:
                more = set(layers) - set(full.float_layers)
                grown = WEIGHT_BYTES * sum(self._weights.get(name, 0) for name in more)
                told = dataclasses.replace(told, size_bytes=full.size_bytes + grown)
            return self.kept(told)

        return fits

    def kept(self, trial: Trial) -> bool:
        """Whether a trial keeps them; by what was measured of it, where it was."""
        return trial.within(self.max_time, self.max_size)

    def _time(self, layers: Collection[str], line: tuple[float, float, float]) -> float:
        floor, least, slope = line
        return least + slope * (self._prices.of(layers).cost - floor)

    def _line(self, trials: Sequence[Trial]) -> tuple[float, float, float] | None:
        """Price and time of the baseline, and how the one goes with the other; None where the
        baseline was not timed."""
        full = next((t for t in trials if t.phase == "baseline" and t.name in self._times), None)
        if full is None:
            return None
        floor, least = self._prices.of(full.float_layers).cost, self._times[full.name].value
        points: list[tuple[float, float]] = []
        for trial in trials:
            if trial.name in self._times:
                dearer = self._prices.of(trial.float_layers).cost - floor
                points.append((dearer, self._times[trial.name].value - least))
        weight = sum(x * x for x, _ in points)
        slope = sum(x * y for x, y in points) / weight if weight else 0.0
        return floor, least, slope if slope > 0 else (1 - least) / max(1e-9, 1 - floor)
