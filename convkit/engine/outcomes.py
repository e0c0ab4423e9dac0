"""What walking a plan comes to: hops that were judged, outcomes, and how to quantize."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from convkit.calibration import CalibrationData
from convkit.engine.hops import HopResult
from convkit.engine.session import Found
from convkit.errors import NumericError
from convkit.manifest import Attempt, Failure
from convkit.plans import OptionValue, Path, Plan, Step
from convkit.quant import QuantRecipe
from convkit.verification import Verification


@dataclass(frozen=True)
class WalkedHop:
    """A hop with everything that is known of it."""

    step: Step
    result: HopResult
    recipe: QuantRecipe | None = None
    attempts: tuple[Attempt, ...] = ()
    verification: Verification | None = None
    predecessor: Verification | None = None

    @property
    def wrong(self) -> bool:
        """It was judged, and does not compute what the original does."""
        return self.verification is not None and self.verification.verdict == "wrong"

    @property
    def summary(self) -> str:
        """Recipe, verdict and SQNR in a few words."""
        parts = [] if self.recipe is None else [self.recipe.name]
        if self.verification is not None:
            parts.append(self.verification.verdict)
            if self.verification.slices:
                parts.append(f"{self.verification.sqnr_db:.1f} dB")
        return ", ".join(parts)

    def check(self) -> None:
        """Refuse a wrong result.

        Raises:
            NumericError: it is one; with the evidence.
        """
        if not self.wrong or self.verification is None:
            return
        evidence = list(self.verification.problems[:3])
        if self.verification.divergence is not None:
            evidence.append(str(self.verification.divergence))
        raise NumericError(
            f"the result of {self.step.converter} does not compute what the original does: "
            + "; ".join(evidence),
            hint=self._hint(),
        )

    def _hint(self) -> str:
        said = []
        if self.predecessor is not None and self.predecessor.verdict == "wrong":
            said.append(
                f"This hop is the culprit: its own input {self.step.source} was still right."
            )
        elif self.attempts:
            tried = ", ".join(f"{a.recipe.name} {a.sqnr_db:.1f} dB" for a in self.attempts)
            said.append(f"Tried: {tried}. More or better calibration data may help.")
        if self.recipe is not None:
            said.append("`convkit analyze` finds by measurement what must stay in float.")
        if said:
            return " ".join(said)
        return "--avoid or --via choose another road; `convkit plan --explain` lists them."


@dataclass(frozen=True)
class Outcome:
    """A target that was reached."""

    plan: Plan
    path: Path
    hops: tuple[WalkedHop, ...]
    failed: tuple[Failure, ...] = ()
    calibration: CalibrationData | None = None

    @property
    def final(self) -> Found:
        """The artifact that the target asked for."""
        return self.hops[-1].result.found


@dataclass(frozen=True)
class Approach:
    """A path walked up to the hop that quantizes.

    Attributes:
        step: that hop.
        previous: its input.
        twin: the float model whose layers its recipes name; often the same.
    """

    plan: Plan
    path: Path
    hops: tuple[WalkedHop, ...]
    step: Step
    previous: Found
    twin: Found


@dataclass(frozen=True)
class Choice:
    """How a converter is to quantize: what stays in float, and options that differ from those
    planned."""

    converter: str
    recipe: QuantRecipe
    options: Mapping[str, OptionValue]
