"""What a conversion gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from convkit.artifact import State
from convkit.codec import encode
from convkit.errors import UsageError
from convkit.lint import CalibrationWarning
from convkit.manifest import Failure, Manifest
from convkit.plans import Plan, Rejection
from convkit.plugin.data import MetricResult
from convkit.sensitivity import Sensitivity
from convkit.verification import Verification


@dataclass(frozen=True)
class Output:
    """One published file or folder.

    Attributes:
        verification: of the last hop against the original; None with verification off.
    """

    state: State
    path: Path
    size_bytes: int
    plan: Plan
    manifest: Manifest
    verification: Verification | None = None


@dataclass(frozen=True)
class Scoreboard:
    """A task metric for the original and everything made from it.

    Attributes:
        rows: title to metric, the original first.
        sizes: title to bytes.
        picture: a PNG with the models side by side, or None.
    """

    metric: str
    rows: Mapping[str, MetricResult]
    sizes: Mapping[str, int]
    picture: Path | None = None


@dataclass(frozen=True)
class ConversionResult:
    """All outputs of one call; the singular properties exist where there is exactly one.

    Attributes:
        analyses: what `analyze` found for each output that it was asked for.
        calibration_warnings: what is probably wrong with the calibration data.
    """

    outputs: tuple[Output, ...]
    rejected: tuple[Rejection, ...] = ()
    failed: tuple[Failure, ...] = ()
    scoreboard: Scoreboard | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    analyses: tuple[Sensitivity, ...] = ()
    calibration_warnings: tuple[CalibrationWarning, ...] = ()

    @property
    def path(self) -> Path:
        """The only output's path."""
        return self._only().path

    @property
    def plan(self) -> Plan:
        """The only output's plan."""
        return self._only().plan

    @property
    def verification(self) -> Verification | None:
        """The only output's verification."""
        return self._only().verification

    @property
    def manifest(self) -> Manifest:
        """The only output's manifest."""
        return self._only().manifest

    def _only(self) -> Output:
        if len(self.outputs) != 1:
            raise UsageError(f"there are {len(self.outputs)} outputs", hint="Use `result.outputs`.")
        return self.outputs[0]

    def to_json(self) -> dict[str, Any]:
        """The document of `convkit convert --json`."""
        return {
            "outputs": [
                {
                    "state": str(o.state),
                    "path": str(o.path),
                    "size_bytes": o.size_bytes,
                    "verification": encode(o.verification),
                    "manifest": encode(o.manifest),
                }
                for o in self.outputs
            ],
            "plan": [
                {
                    "target": str(o.state),
                    "path": o.manifest.path,
                    "steps": [h.converter for h in o.manifest.hops],
                }
                for o in self.outputs
            ],
            "rejected": encode(self.rejected),
            "failed": encode(self.failed),
            "scoreboard": encode(self.scoreboard),
            "seconds": encode(self.seconds),
            "analyses": encode(self.analyses),
            "calibration_warnings": encode(self.calibration_warnings),
        }
