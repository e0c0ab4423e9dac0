"""A model opened for many quantized builds, and their comparison on fresh data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from convkit.analysis.sensitivity.subject import Subject, combined_db
from convkit.api.analysis import COMPARED
from convkit.api.run import Run
from convkit.artifact import ReadOptions, State
from convkit.engine.calibrate import CalibrationRequest
from convkit.engine.evaluate import Evaluator
from convkit.engine.sample_files import load_outputs
from convkit.engine.session import Found, Session, Settings
from convkit.engine.sources import load
from convkit.engine.verify import compare_outputs
from convkit.events import silent
from convkit.kit import DEFAULT_TIMEOUT, Kit, Steering
from convkit_vision.bootstrap import paired_bootstrap
from convkit_vision.coco_data import load_coco
from convkit_vision.evaluation import coco_results, detections
from convkit_vision.fidelity_map import truth_by
from tests.benchmarks.tasks import Task

RESAMPLES = 1000


@contextmanager
def opened(kit: Kit, task: Task, target: str) -> Iterator[Subject]:
    """A subject as `convkit.analyze` makes one: same calibration data, same samples to compare
    outputs on, same metric."""
    from convkit.engine.worker import Limits

    with kit.session(silent, Settings(), Limits(DEFAULT_TIMEOUT)) as session:
        source = load(session, task.model, kit.format_of(task.model, None), ReadOptions())
        run = Run(kit, session, source, kit.wishes(Steering()))
        run.prepare(CalibrationRequest(data=task.calibration))
        samples = run.samples(COMPARED)
        assert samples is not None
        approach = run.executor.approach(_state(kit, target))
        evaluator = Evaluator(session, task.metric, task.data, source)
        yield Subject(session, run.executor, approach, samples, evaluator)


def _state(kit: Kit, target: str) -> State:
    from convkit.api.run import target_states

    (state,) = target_states(kit, target)
    return state


@dataclass(frozen=True)
class Difference:
    """Second minus first on the same samples, with a 95 % paired bootstrap interval."""

    first: float
    second: float
    low: float
    high: float

    @property
    def value(self) -> float:
        """Of the metric."""
        return self.second - self.first


class Judge:
    """Scores models on one labelled data set, pair by pair."""

    def __init__(self, session: Session, task: Task, data: Path, source: Found) -> None:
        self._evaluator = Evaluator(session, task.metric, data, source)
        self._truth = load_coco(data, None) if data.is_dir() else None
        self._labels: Any = None
        if self._truth is None:
            with np.load(data) as arrays:
                self._labels = arrays["y"]
        self._seen: dict[str, Any] = {}
        self._detected: dict[str, Any] = {}

    def difference(self, first: Found, second: Found) -> Difference:
        """How much better the second is."""
        a, b = self._results(first), self._results(second)
        if self._truth is not None:
            return _paired(self._truth.truth, a, b)
        change = b.astype(np.float64) - a
        draws = np.random.default_rng(0).integers(0, len(change), (RESAMPLES, len(change)))
        low, high = np.quantile(change[draws].mean(1), [0.025, 0.975])
        return Difference(float(a.mean()), float(b.mean()), float(low), float(high))

    def closer(self, reference: Found, first: Found, second: Found) -> Difference:
        """How much closer to a reference detector the second is: in mAP against what the reference
        itself detects, which tells far smaller differences than labels do."""
        assert self._truth is not None, "no detector"
        key = reference.artifact.digest
        if key not in self._detected:
            self._detected[key] = truth_by(self._truth, self._outputs(reference))
        return _paired(self._detected[key], self._results(first), self._results(second))

    def decibels(self, reference: Found, found: Found) -> float:
        """SQNR of a model's outputs against the reference's."""
        sides = [self._evaluator.outputs(x.artifact) for x in (reference, found)]
        assert sides[0] is not None and sides[1] is not None, "no runner"
        slices, _ = compare_outputs(reference.artifact, found.artifact, sides[0], sides[1])
        return combined_db(slices)

    def _results(self, found: Found) -> Any:
        """Detections in COCO's form, or which samples were right."""
        key = found.artifact.digest
        if key not in self._seen:
            self._seen[key] = self._judged(self._outputs(found))
        return self._seen[key]

    def _outputs(self, found: Found) -> list[Any]:
        """Sample by sample."""
        outputs = self._evaluator.outputs(found.artifact)
        assert outputs is not None, "no runner"
        return list(zip(*load_outputs(outputs, self._evaluator.count), strict=True))

    def _judged(self, outputs: Sequence[Any]) -> Any:
        if self._truth is None:
            return np.array(
                [o[0].argmax() == y for o, y in zip(outputs, self._labels, strict=True)]
            )
        return [
            row
            for image, seen in detections(self._truth, outputs)
            for row in coco_results(image.id, seen, self._truth.categories)
        ]


def _paired(truth: Any, first: Any, second: Any) -> Difference:
    found = paired_bootstrap(truth, first, second, resamples=RESAMPLES)
    return Difference(found.first, found.second, found.low, found.high)
