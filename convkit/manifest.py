"""The record beside every output: what was done, with what, and how it was proved.

No field holds an absolute path: a manifest travels with its artifact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from convkit.artifact import TensorSpec
from convkit.lint import CalibrationWarning
from convkit.plans import OptionValue
from convkit.plugin.data import MetricResult
from convkit.quant import QuantRecipe
from convkit.verification import Verification

MANIFEST_SUFFIX = ".convkit.json"


@dataclass(frozen=True)
class Attempt:
    """One recipe that was tried for a quantized hop, and what it gave."""

    recipe: QuantRecipe
    sqnr_db: float
    verdict: str
    size_bytes: int


@dataclass(frozen=True)
class HopRecord:
    """One hop as it was run.

    Attributes:
        versions: distribution to version, of everything the converter declares and its plugin.
        environment: name and lock digest of an isolated environment, or empty.
        attempts: recipes tried, in order; empty where there was no choice.
        verification: against the original model; `predecessor` against the artifact before.
        notes: what the converter decided by itself or had to leave, in words.
    """

    converter: str
    source: str
    target: str
    digest: str
    size_bytes: int
    seconds: float
    cached: bool
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    bound: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    environment: str = ""
    recipe: QuantRecipe | None = None
    attempts: tuple[Attempt, ...] = ()
    verification: Verification | None = None
    predecessor: Verification | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failure:
    """A hop that failed and was routed around.

    Attributes:
        source: the state that it started from; empty in manifests of older versions.
    """

    converter: str
    target: str
    error: str
    message: str
    source: str = ""


@dataclass(frozen=True)
class CalibrationRecord:
    """Where the integers' ranges come from.

    Attributes:
        warnings: what the lint found.
    """

    source: str
    transform: str
    count: int
    digest: str
    seed: int
    synthetic: bool
    warnings: tuple[CalibrationWarning, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """See the module."""

    convkit: str
    source_name: str
    source_state: str
    source_digest: str
    target: str
    path: str
    digest: str
    size_bytes: int
    precision: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    hops: tuple[HopRecord, ...]
    python: str
    platform: str
    cpu_features: tuple[str, ...]
    seed: int
    threads: int
    integer_macs: float | None = None
    float_islands: int | None = None
    calibration: CalibrationRecord | None = None
    failed: tuple[Failure, ...] = ()
    metrics: Mapping[str, MetricResult] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def manifest_path(output: Path) -> Path:
    """Where the manifest of an output lies."""
    return output.with_name(output.name + MANIFEST_SUFFIX)
