"""What a benchmark found: times of several models, measured interleaved in one run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

SpeedVerdict = Literal["faster", "slower", "equal", "cannot tell"]
"""`faster` and `slower`: the estimate lies beyond the equivalence margin, and the whole confidence
interval beyond half of it (two processes of one file may differ by a percent that is real and means
nothing); `equal`: the whole interval lies inside the margin; `cannot tell`: anything else."""


@dataclass(frozen=True)
class Latency:
    """Wall-clock seconds of one inference, batch as the model has it, one at a time.

    Attributes:
        count: how many inferences were timed, warm-up left out.
        own: the median without what inferences waited for a processor that other work on the
            machine had; ratios are of such times. The same as `median` where the platform does
            not tell.
    """

    count: int
    mean: float
    minimum: float
    median: float
    p90: float
    p95: float
    p99: float
    deviation: float
    own: float = 0.0


@dataclass(frozen=True)
class SpeedRatio:
    """A model's time over the baseline's, from paired rounds of the same run, without what either
    waited for a processor that other work on the machine had.

    Attributes:
        baseline: title of the model that it is compared with.
        value: the estimate; 0.5 means half the baseline's time.
        low, high: bounds of the confidence interval.
        confidence: such as 0.95.
        margin: differences below it count as none, 0.03 being 3 %.
    """

    baseline: str
    value: float
    low: float
    high: float
    confidence: float
    margin: float
    verdict: SpeedVerdict


@dataclass(frozen=True)
class BenchmarkRow:
    """One model.

    Attributes:
        title: unique in the run: the file's name, lengthened where two would be alike.
        runner: which runtime executed it, and `versions` of the distributions that it declares.
        load_seconds: opening the model, the runtime's import left out.
        first_seconds: the first inference, which may compile.
        peak_bytes: highest resident memory of the process above what it held before the model was
            opened; None where the platform does not tell.
        throughput: number of parallel streams to inferences per second.
        error, hint: why it could not be measured; the other fields are then empty.
    """

    title: str
    state: str
    path: str
    size_bytes: int
    runner: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    load_seconds: float | None = None
    first_seconds: float | None = None
    peak_bytes: int | None = None
    latency: Latency | None = None
    throughput: Mapping[str, float] = field(default_factory=dict)
    ratio: SpeedRatio | None = None
    error: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Machine:
    """What the figures were measured on.

    Attributes:
        cores: that this process may use.
        features: processor features that explain integer speed (AVX2, VNNI, AMX, ...).
        missing: those that integer kernels would like and the processor lacks.
        load: the one-minute load average before the run, None where unknown.
    """

    processor: str
    cores: int
    features: tuple[str, ...]
    missing: tuple[str, ...]
    platform: str
    python: str
    load: float | None = None


@dataclass(frozen=True)
class Benchmark:
    """All candidates of one run.

    Attributes:
        baseline: title of the first model that could be measured, which the others are paired with.
        threads: what every runtime was told to use.
        rounds: how often each model had its turn.
        repeats: inferences in one turn of the slowest model; turns are about equally long.
        shapes: input name to the shape that was run.
        notes: in words: what makes the figures doubtful, or explains them.
    """

    rows: tuple[BenchmarkRow, ...]
    baseline: str
    threads: int
    rounds: int
    repeats: int
    machine: Machine
    seconds: float
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def row(self, title: str) -> BenchmarkRow | None:
        """The row of a title."""
        return next((row for row in self.rows if row.title == title), None)
