"""A task metric over a data set, for the original and for results, run alike."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convkit.artifact import Artifact
from convkit.codec import decode, encode
from convkit.engine.calibrate import source_of
from convkit.engine.digest import digest_file, digest_key, digest_path
from convkit.engine.publish import publish_file
from convkit.engine.sample_files import shapes_in
from convkit.engine.session import Found, Samples, Session, Stage
from convkit.engine.user_metric import is_user_metric
from convkit.engine.verify import compare_outputs, outputs_of
from convkit.errors import CalibrationError, NoPathError, UsageError, did_you_mean
from convkit.plugin.data import MetricResult, ReferenceMetric
from convkit.verification import SliceAgreement

INPUTS_FILE = "inputs.safetensors"
PICTURE_FILE = "picture.png"
PICTURE_SAMPLES = 4
AGREEMENT_VALUES = 20_000_000
"""Agreement per slice looks at so many values of the outputs at most, from the first sample on."""


@dataclass(frozen=True)
class Scored:
    """A model's outputs on the data set and its metric."""

    outputs: Path
    result: MetricResult


@dataclass(frozen=True)
class Part:
    """The metric on the first samples alone.

    Attributes:
        samples: how many.
        held: of the float model.
        value: of the model.
        mixed: of the model with the float model's outputs in one group of samples, for each group.
    """

    samples: int
    held: float
    value: float
    mixed: tuple[float, ...]


class Evaluator:
    """One metric on one data set."""

    def __init__(
        self, session: Session, metric: str, data: Path, reference: Found, limit: int | None = None
    ) -> None:
        """Pre-process the data set once, for the reference's inputs.

        Args:
            metric: the name of a plugin's metric, or `module:function`.
            reference: also what a metric without labels holds the models against.

        Raises:
            UsageError: unknown metric, no such data, or data that the metric cannot use.
        """
        check_metric(session, metric)
        if not data.exists():
            raise UsageError(
                f"there is no data set {data}",
                hint="Give the folder (or the .npz file) that holds the samples with --data.",
            )
        if limit is not None and limit < 1:
            raise UsageError(f"a limit of {limit} leaves nothing to score")
        self._session = session
        self._name = metric
        self._user = is_user_metric(metric)
        self._data = data
        self._limit = limit
        self._reference = reference
        self._names: tuple[str, ...] = ()
        self._data_digest = digest_path(data)
        self._proved = False
        self._samples = self._prepare(reference.artifact)

    @property
    def count(self) -> int:
        """How many samples there are."""
        return self._samples.count

    @property
    def samples(self) -> Samples:
        """The samples as the reference takes them."""
        return self._samples

    @property
    def data(self) -> Path:
        """The data set."""
        return self._data

    @property
    def metric(self) -> str:
        """The metric's name, or `module:function`."""
        return self._name

    @property
    def relative(self) -> bool:
        """Whether the metric holds the models against the reference instead of labels."""
        if self._user:
            return False
        return isinstance(self._session.registry.metrics[self._name], ReferenceMetric)

    def outputs(self, artifact: Artifact, stage: Stage | None = None) -> Path | None:
        """The artifact's outputs on the data set; None where no runner executes its format."""
        return outputs_of(self._session, artifact, self._samples, stage)

    def score(self, found: Found, stage: Stage | None = None) -> Scored | None:
        """The metric of an artifact; None where no runner executes its format.

        Raises:
            UsageError: outputs that the metric cannot use, or a user's metric that fails.
        """
        outputs = self.outputs(found.artifact, stage)
        if outputs is None:
            return None
        held = self._reference_outputs()
        arguments = {
            "data": str(self._data),
            "outputs": str(outputs),
            "reference": str(held) if held else "",
            "limit": self._limit,
        }
        if self._user:  # code that may change with every run, so never from the store
            self._prove(arguments)
            return Scored(outputs, decode(MetricResult, self._ask("metric_score", arguments)))
        key = digest_key(
            {"kind": "score", "of": str(outputs), "against": str(held), **self._identity()}
        )
        _, document, _ = self._session.store.produce(
            key, lambda _: self._ask("metric_score", arguments)
        )
        return Scored(outputs, decode(MetricResult, document))

    def part(
        self, found: Found, against: Found, samples: int, groups: int, stage: Stage | None = None
    ) -> Part | None:
        """The metric on the first samples, and what each group of them has to do with it; None
        where either model cannot be run, and for a metric of the user's own: its code may want an
        output for every label.

        Args:
            against: the float model.

        Raises:
            ConvkitError: the metric cannot judge so few.
        """
        if self._user:
            return None
        few = dataclasses.replace(self._samples, count=samples)
        outputs = outputs_of(self._session, found.artifact, few, stage)
        whole = self.outputs(against.artifact)
        if outputs is None or whole is None:
            return None
        reference = self._reference_outputs()
        arguments = {
            "data": str(self._data),
            "outputs": str(outputs),
            "against": str(whole),
            "reference": str(reference) if reference else "",
            "limit": samples,
            "groups": groups,
        }
        key = digest_key({"kind": "part", **arguments, **self._identity()})
        store = self._session.store
        _, answer, _ = store.produce(key, lambda _: self._ask("metric_part", arguments))
        return Part(samples, answer["held"], answer["own"], tuple(answer["mixed"]))

    def _reference_outputs(self) -> Path | None:
        """What the metric holds models against, where it does.

        Raises:
            NoPathError: nothing runs the reference.
        """
        if not self.relative:
            return None
        held = self.outputs(self._reference.artifact)
        if held is None:
            raise NoPathError(
                f"{self._name} needs the reference's outputs, and no installed runner executes"
                f" {self._reference.state.format} files"
            )
        return held

    def picture(self, scored: Mapping[str, Scored], path: Path) -> bool:
        """Draw a few samples, one column per model; False where the metric has no picture."""
        outputs = {title: str(s.outputs) for title, s in scored.items()}

        def make(folder: Path) -> Any:
            arguments = {
                "data": str(self._data),
                "outputs": outputs,
                "path": str(folder / PICTURE_FILE),
                "limit": PICTURE_SAMPLES,
            }
            return self._ask("metric_picture", arguments)

        store = self._session.store
        if self._user:
            with store.scratch() as folder:
                drawn = make(folder)
                if drawn:
                    publish_file(folder / PICTURE_FILE, path)
            return bool(drawn)
        key = digest_key({"kind": "picture", "outputs": outputs, **self._identity()})
        folder, drawn, _ = store.produce(key, make)
        if drawn:
            publish_file(folder / PICTURE_FILE, path)
        return bool(drawn)

    def agreement(
        self, reference: Artifact, candidate: Artifact, left: Path, right: Path
    ) -> tuple[tuple[SliceAgreement, ...], list[str]]:
        """Agreement of two models' outputs on the data set, slice by slice, and in words what
        cannot be compared."""
        limit = max(2, AGREEMENT_VALUES // max(1, sum(map(math.prod, shapes_in(left)))))
        return compare_outputs(reference, candidate, left, right, limit)

    def _prove(self, arguments: Mapping[str, Any]) -> None:
        """A score that never changes ranks nothing; until it has changed once, that is tried.

        Raises:
            UsageError: the user's metric gives the same for any outputs.
        """
        if self._proved:
            return
        probe = {key: value for key, value in arguments.items() if key != "reference"}
        if not self._ask("metric_probe", probe):
            raise UsageError(
                f"the metric {self._name} is constant: it gives the same for the model's outputs,"
                " for zeros, for noise and for the samples in another order",
                hint="Does it use `outputs`? If it does, this model's score is that of chance:"
                " compare the order of the labels with that of the samples.",
            )
        self._proved = True

    def _ask(self, op: str, arguments: Mapping[str, Any], stage: Stage | None = None) -> Any:
        session = self._session
        if not self._user:
            return session.ask(op, "metrics", self._name, arguments, stage=stage)
        user = {"text": self._name, "folder": str(Path.cwd()), "names": list(self._names)}
        return session.workers.request(
            op,
            {**arguments, "user": user},
            plugin=session.registry.owner("calibration_sources", "arrays"),
            kind="metrics",
            name=self._name,
            log=f"user-metric-{op}",
            progress=stage.progress if stage else (lambda phase, fraction: None),
        )

    def _identity(self) -> dict[str, Any]:
        metric = self._session.registry.metrics[self._name]
        return {
            "metric": self._session.implementation_key("metrics", metric.name, metric.requirements),
            "data": self._data_digest,
            "limit": self._limit,
        }

    def _prepare(self, artifact: Artifact) -> Samples:
        arguments = {
            "data": str(self._data),
            "artifact": encode(artifact),
            "limit": self._limit,
        }
        with self._session.stage(f"reading {self._data.name}") as stage:
            read = self._read_by_user if self._user else self._read_by_metric
            folder, document, cached = read(artifact, arguments, stage)
            if document["count"] is None:
                folder, document, cached = self._from_source(artifact, arguments, stage)
            stage.outcome = "cached" if cached else "done"
            stage.detail = f"{document['count']} samples"
        if not document["count"]:
            raise UsageError(f"{self._data} holds not a single sample")
        self._names = tuple(document.get("names", ()))
        return Samples(folder / INPUTS_FILE, document["digest"], document["count"], False)

    def _read_by_metric(
        self, artifact: Artifact, arguments: Mapping[str, Any], stage: Stage
    ) -> tuple[Path, Any, bool]:
        inputs = encode(artifact.inputs)
        key = digest_key({"kind": "metric-inputs", "inputs": inputs, **self._identity()})
        return self._session.store.produce(key, lambda folder: self._read(folder, arguments, stage))

    def _read_by_user(
        self, artifact: Artifact, arguments: Mapping[str, Any], stage: Stage
    ) -> tuple[Path, Any, bool]:
        """A user's code may read something else in every run: it is asked each time, and what it
        gave is kept by its content."""
        store = self._session.store
        with store.scratch() as scratch:
            document = self._read(scratch, arguments, stage)
            key = digest_key({"kind": "user-inputs", **document})

            def make(folder: Path) -> Any:
                if document["count"] is not None:
                    (scratch / INPUTS_FILE).rename(folder / INPUTS_FILE)
                return document

            return store.produce(key, make)

    def _read(self, folder: Path, arguments: Mapping[str, Any], stage: Stage) -> Any:
        file = folder / INPUTS_FILE
        answer = self._ask("metric_inputs", {**arguments, "output": str(file)}, stage)
        return answer if answer["count"] is None else {**answer, "digest": digest_file(file)}

    def _from_source(
        self, artifact: Artifact, arguments: Mapping[str, Any], stage: Stage
    ) -> tuple[Path, Any, bool]:
        """The samples as the data's calibration source reads them, in their own order."""
        session = self._session
        try:
            source = source_of(session, self._data)
        except CalibrationError as error:
            raise UsageError(
                f"{self._data} holds nothing that {self._name} can be fed with", hint=error.hint
            ) from error
        key = digest_key(
            {
                "kind": "samples",
                "source": session.implementation_key(
                    "calibration_sources", source.name, source.requirements
                ),
                "inputs": encode(artifact.inputs),
                "data": self._data_digest,
                "name": self._data.name,
                "limit": self._limit,
            }
        )

        def make(folder: Path) -> Any:
            file = folder / INPUTS_FILE
            answer = session.ask(
                "samples",
                "calibration_sources",
                source.name,
                {**arguments, "output": str(file)},
                stage=stage,
            )
            return {**answer, "digest": digest_file(file)}

        return session.store.produce(key, make)


def check_metric(session: Session, metric: str) -> None:
    """Refuse a metric that is not there, before any work.

    Raises:
        UsageError: no plugin offers it and it is none of the user's own, with near misses; or a
            user's own cannot be imported (the text only is looked at here).
        NoPathError: what it requires is not installed.
    """
    if is_user_metric(metric):
        place, _, attribute = metric.rpartition(":")
        if not place or not all(part.isidentifier() for part in attribute.split(".")):
            raise UsageError(
                f"{metric!r} does not name a metric",
                hint="Write module:function, such as mymetrics:f1 or scripts/score.py:f1.",
            )
        return
    metrics = session.registry.metrics
    if metric not in metrics:
        near = did_you_mean(metric, metrics)
        installed = f"Installed: {', '.join(sorted(metrics)) or 'none'}."
        raise UsageError(
            f"there is no metric called {metric!r}",
            hint=f"{near} {installed} One of your own is named module:function.".lstrip(),
        )
