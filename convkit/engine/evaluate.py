"""A task metric over a labelled data set, for the original and for results, run alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convkit.codec import decode, encode
from convkit.engine.digest import digest_file, digest_files, digest_key
from convkit.engine.publish import publish_file
from convkit.engine.session import Found, Samples, Session
from convkit.engine.verify import outputs_of
from convkit.errors import UsageError
from convkit.plugin.protocols import Metric, MetricResult

INPUTS_FILE = "inputs.safetensors"
PICTURE_FILE = "picture.png"
PICTURE_SAMPLES = 4


@dataclass(frozen=True)
class Scored:
    """A model's outputs on the data set and its metric."""

    outputs: Path
    result: MetricResult


class Evaluator:
    """One metric on one data set."""

    def __init__(
        self, session: Session, metric: str, data: Path, reference: Found, limit: int | None = None
    ) -> None:
        """Pre-process the data set once, for the reference's inputs.

        Raises:
            UsageError: unknown metric, or no such data.
        """
        metrics = session.registry.metrics
        if metric not in metrics:
            raise UsageError(
                f"there is no metric called {metric!r}",
                hint=f"Installed: {', '.join(sorted(metrics)) or 'none'}.",
            )
        if not data.is_dir():
            raise UsageError(
                f"there is no data set folder {data}",
                hint="Give the folder that holds the labelled samples with --data.",
            )
        self._session = session
        self._metric: Metric = metrics[metric]
        self._data = data
        self._limit = limit
        self._samples = self._prepare(reference)

    def score(self, found: Found) -> Scored | None:
        """The metric of an artifact; None where no runner executes its format."""
        session, metric = self._session, self._metric
        outputs = outputs_of(session, found.artifact, self._samples)
        if outputs is None:
            return None
        key = digest_key({"kind": "score", "of": str(outputs), **self._identity()})

        def make(_: Path) -> Any:
            return session.ask(
                "metric_score",
                "metrics",
                metric.name,
                {"data": str(self._data), "outputs": str(outputs), "limit": self._limit},
            )

        _, document, _ = session.store.produce(key, make)
        return Scored(outputs, decode(MetricResult, document))

    def picture(self, scored: Mapping[str, Scored], path: Path) -> bool:
        """Draw a few samples, one column per model; False where the metric has no picture."""
        session, metric = self._session, self._metric
        outputs = {title: str(s.outputs) for title, s in scored.items()}
        key = digest_key({"kind": "picture", "outputs": outputs, **self._identity()})

        def make(folder: Path) -> Any:
            arguments = {
                "data": str(self._data),
                "outputs": outputs,
                "path": str(folder / PICTURE_FILE),
                "limit": PICTURE_SAMPLES,
            }
            return session.ask("metric_picture", "metrics", metric.name, arguments)

        folder, drawn, _ = session.store.produce(key, make)
        if drawn:
            publish_file(folder / PICTURE_FILE, path)
        return bool(drawn)

    def _identity(self) -> dict[str, Any]:
        metric = self._metric
        return {
            "metric": self._session.implementation_key("metrics", metric.name, metric.requirements),
            "data": digest_files((p for p in self._data.rglob("*") if p.is_file()), self._data),
            "limit": self._limit,
        }

    def _prepare(self, reference: Found) -> Samples:
        session, metric = self._session, self._metric
        key = digest_key(
            {
                "kind": "metric-inputs",
                "inputs": encode(reference.artifact.inputs),
                **self._identity(),
            }
        )

        def make(folder: Path) -> Any:
            with session.stage(f"reading {self._data.name}") as stage:
                answer = session.ask(
                    "metric_inputs",
                    "metrics",
                    metric.name,
                    {
                        "data": str(self._data),
                        "artifact": encode(reference.artifact),
                        "limit": self._limit,
                        "output": str(folder / INPUTS_FILE),
                    },
                    stage=stage,
                )
            return {**answer, "digest": digest_file(folder / INPUTS_FILE)}

        folder, document, _ = session.store.produce(key, make)
        return Samples(folder / INPUTS_FILE, document["digest"], document["count"], False)
