"""What the analyzer's choice loses against exhaustive searches over single layers, and regions.

Of every layer in integers two truths are measured by real builds: the model with that layer alone
in float (leave one out), and with that layer alone in integers (leave one in). Each gives a
ranking; its choice is the best layers in float, taken in order as long as they fit into the price
of the analyzer's choice. On the smallest model every stretch of consecutive layers at that price is
built as well. All choices are then timed together, and judged on fresh samples that neither the
analyzer nor the searches have seen.

Where everything in integers is good enough already, there is nothing to choose. The analyzer is
then asked, without labels, for outputs that are some decibels better.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import convkit
from convkit import AnalysisSettings, BenchSettings
from convkit.analysis.bench import bench_found
from convkit.analysis.sensitivity.prices import Prices
from convkit.analysis.sensitivity.subject import Built, Subject
from convkit.errors import ConvkitError
from convkit.kit import Kit
from convkit.quant import QuantRecipe, QuantRule
from convkit.sensitivity import Sensitivity
from tests.benchmarks.subjects import Judge, opened
from tests.benchmarks.tasks import FRESH_SEED, Task, task

TARGET = "onnx-int8"
MODELS = ("cnn", "text", "vit", "residual", "bundled")
SMALLEST = "cnn"
FRESH = 1000
BETTER = 4.0
"""dB asked for beyond everything in integers, where that meets the goal."""
NOTHING = 0.25
"""dB that make no difference."""
ROUNDING = 1e-9


@dataclass(frozen=True)
class Row:
    """One choice of float layers.

    Attributes:
        price: predicted from the graph; `time` is measured, over float's.
        sqnr_db: on fresh samples, as all that follows; `behind` is what the analyzer's lacks of it.
        metric: `low` and `high` bound what the analyzer's is better by.
        labelled: the analyzer was asked for the metric, not for decibels.
    """

    choice: str
    layers: int
    price: float
    time: float | None
    sqnr_db: float
    behind: float
    metric: float
    low: float
    high: float
    labelled: bool

    @property
    def holds(self) -> bool:
        """The analyzer's choice is not worse by more than chance in what it was asked for."""
        return self.high >= 0 if self.labelled else self.behind <= NOTHING


class Search:
    """Builds of one model, remembered."""

    def __init__(self, subject: Subject, report: Sensitivity) -> None:
        self._subject = subject
        self._options = dict(report.choice.options)
        self._built: dict[frozenset[str], Built | None] = {}
        self.layers = [x.name for x in subject.layers if x.name in subject.integer]
        self.everything = [x.name for x in subject.layers]
        self.prices = Prices(subject.layers, subject.integer)

    def build(self, kept: Iterable[str]) -> Built | None:
        """The model with these layers in float; None where the quantizer fails."""
        key = frozenset(kept)
        if key not in self._built:
            ordered = tuple(name for name in self.everything if name in key)
            recipe = QuantRecipe("regret", (QuantRule(ordered, "tried"),) if ordered else ())
            with self._subject.session.stage("build") as stage:
                try:
                    self._built[key] = self._subject.build(recipe, self._options, stage)
                except ConvkitError:
                    self._built[key] = None
        return self._built[key]

    def decibels(self, kept: Iterable[str]) -> float:
        """SQNR on the calibration samples."""
        built = self.build(kept)
        return float("-inf") if built is None else built.sqnr_db

    def best_within(self, ranked: Sequence[str], most: float) -> list[str]:
        """The layers in order, as long as they fit into a price."""
        kept: list[str] = []
        for name in ranked:
            if self.prices.of([*kept, name]).cost <= most + ROUNDING:
                kept.append(name)
        return kept

    def leave_one_out(self) -> list[str]:
        """Layers by how good the model is with each alone in float."""
        return sorted(self.layers, key=lambda name: -self.decibels([name]))

    def leave_one_in(self) -> list[str]:
        """Layers by how bad the model is with each alone in integers."""
        return sorted(
            self.layers, key=lambda name: self.decibels(x for x in self.everything if x != name)
        )

    def best_stretch(self, most: float) -> list[str]:
        """The best of all stretches of consecutive layers that fit into a price."""
        count = len(self.layers)
        stretches = [
            self.layers[start:end] for start in range(count) for end in range(start + 1, count + 1)
        ]
        fitting = [s for s in stretches if self.prices.of(s).cost <= most + ROUNDING]
        return max(fitting, key=self.decibels, default=[])


def main(arguments: Sequence[str] = ()) -> bool:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="regret")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--max-drop", type=float, default=0.005)
    parser.add_argument("--samples", type=int, default=FRESH, help="fresh ones")
    parser.add_argument("--seed", type=int, default=FRESH_SEED, help="of the fresh samples")
    options = parser.parse_args(arguments)
    print(
        f"\nregret ({TARGET}, at most {options.max_drop} lost; judged on {options.samples} fresh"
        " samples)"
    )
    found = []
    with Kit() as kit:
        for name in options.models.split(","):
            found.append(_compared(kit, task(name), options))
    print(json.dumps({"benchmark": "regret", "models": found}), flush=True)
    return all(row["holds"] for model in found for row in model["rows"])


def _compared(kit: Kit, subject_of: Task, options: argparse.Namespace) -> dict[str, Any]:
    report = _analyzed(kit, subject_of, options.max_drop)
    chosen = report.choice.float_layers
    with tempfile.TemporaryDirectory() as folder, opened(kit, subject_of, TARGET) as subject:
        data = subject_of.fresh(Path(folder), options.samples, options.seed)
        search = Search(subject, report)
        price = search.prices.of(chosen).cost
        print(
            f"  {subject_of.name}: {len(search.layers)} layers in integers, the analyzer keeps"
            f" {len(chosen)} in float ({report.cost.builds} builds): {report.chosen}",
            flush=True,
        )
        choices = {
            "analyzer": list(chosen),
            "nothing in float": [],
            "leave one out": search.best_within(search.leave_one_out(), price),
            "leave one in": search.best_within(search.leave_one_in(), price),
        }
        if subject_of.name == SMALLEST:
            choices["best stretch"] = search.best_stretch(price)
        built = {name: search.build(kept) for name, kept in choices.items()}
        times = _times(subject, {n: b for n, b in built.items() if b is not None})
        judge = Judge(subject.session, subject_of, data, subject.source)
        ours = built["analyzer"]
        assert ours is not None, "the analyzer's own choice cannot be built"
        reached = judge.decibels(subject.source, ours.found)
        rows = []
        for name, theirs in built.items():
            if theirs is None:
                print(f"    {name}: the quantizer failed")
                continue
            gap = judge.difference(theirs.found, ours.found)
            row = Row(
                name,
                len(choices[name]),
                search.prices.of(choices[name]).cost,
                times.get(name),
                level := judge.decibels(subject.source, theirs.found),
                level - reached,
                gap.first,
                gap.low,
                gap.high,
                bool(report.metric),
            )
            rows.append(row)
            print(f"    {_words(row)}", flush=True)
        plain = judge.difference(subject.source, ours.found).first
    return {
        "model": subject_of.name,
        "layers": len(search.layers),
        "builds": report.cost.builds,
        "float": plain,
        "rows": [{**asdict(row), "holds": row.holds} for row in rows],
    }


def _analyzed(kit: Kit, subject_of: Task, max_drop: float) -> Sensitivity:
    common: dict[str, Any] = {"to": TARGET, "calibration": subject_of.calibration, "kit": kit}
    report = convkit.analyze(
        subject_of.model,
        data=subject_of.data,
        metric=subject_of.metric,
        analysis=AnalysisSettings(max_drop=max_drop, timing=False),
        **common,
    )
    reached = report.choice.sqnr_db
    if report.choice.float_layers or reached is None:
        return report
    wanted = AnalysisSettings(min_sqnr=reached + BETTER, timing=False)
    return convkit.analyze(subject_of.model, analysis=wanted, **common)


def _words(row: Row) -> str:
    time = "" if row.time is None else f", {row.time:.2f} of float's time"
    mark = "ok" if row.holds else "BETTER THAN THE ANALYZER"
    return (
        f"{row.choice:17} {row.layers:3} layers, price {row.price:.3f}{time}:"
        f" {row.sqnr_db:5.1f} dB, {row.metric:.4f}, analyzer's gain [{row.low:+.4f},"
        f" {row.high:+.4f}] {mark}"
    )


def _times(subject: Subject, built: dict[str, Built]) -> dict[str, float]:
    """Over the float model's, all in one run."""
    models = [("float", subject.approach.twin)]
    models += [(name, found.found) for name, found in built.items()]
    settings = BenchSettings(seconds=2.0, streams=(), baseline="float")
    benchmark = bench_found(subject.session, models, settings, subject.samples)
    return {row.title: row.ratio.value for row in benchmark.rows if row.ratio is not None}
