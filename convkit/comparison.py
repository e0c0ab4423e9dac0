"""Everything that is known about a model and what was made of it: the content of a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from convkit.benchmark import Benchmark
from convkit.codec import encode
from convkit.delegates import DelegateMap, ExecutionProfile
from convkit.evaluation import Evaluation
from convkit.manifest import Failure, Manifest
from convkit.plans import Rejection


@dataclass(frozen=True)
class Compared:
    """One model of a comparison, joined by `title` with the rows of evaluation and benchmark.

    Attributes:
        manifest: how it was made; None for the original, and for files without one.
        pareto: no other model is both faster and better.
        error, hint: why it could not be made; there is then no file.
    """

    title: str
    state: str
    path: str
    size_bytes: int
    precision: str = ""
    manifest: Manifest | None = None
    pareto: bool = False
    error: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Gate:
    """A limit that the user set, and whether it was met.

    Attributes:
        limit: as the user wrote it, such as `--fail-drop 0.01`.
        message: the measured figure beside the limit, in words.
    """

    limit: str
    title: str
    passed: bool
    message: str


@dataclass(frozen=True)
class Comparison:
    """A model and what was made of it.

    Attributes:
        models: the original first.
        drift: float formats that do not agree with the original in the metric, with the hop that
            is to blame, in words.
    """

    title: str
    convkit: str
    models: tuple[Compared, ...]
    evaluation: Evaluation | None = None
    benchmark: Benchmark | None = None
    delegates: tuple[DelegateMap, ...] = ()
    profiles: tuple[ExecutionProfile, ...] = ()
    rejected: tuple[Rejection, ...] = ()
    failed: tuple[Failure, ...] = ()
    gates: tuple[Gate, ...] = ()
    drift: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The document of `convkit compare --json`: every number of the report is in it."""
        document: dict[str, Any] = encode(self)
        return document
