"""What walking a plan comes to: hops that were judged, outcomes, and what is under way."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from convkit.calibration import CalibrationData
from convkit.engine.hops import HopResult
from convkit.engine.session import Found, Stage
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


@dataclass
class OpenHop:
    """A hop whose result is there, and its verdict not yet.

    Attributes:
        stage: of its conversion; it ends with the verdict.
        under_way: it is being judged now.
        judged: judges, or waits for the verdict.
        told: who waits for the hop's end.
    """

    found: Found
    stage: Stage
    under_way: bool
    judged: Callable[[], WalkedHop]
    told: ExitStack

    def finish(self) -> WalkedHop:
        """The hop with its verdict.

        Raises:
            NumericError: it is wrong.
        """
        with self.told:
            return self.judged()

    def give_up(self) -> None:
        """End it without a verdict, for what it was made from failed."""
        self.stage.detail = "its input is wrong"
        self.told.__exit__(*sys.exc_info())


def settled(hop: WalkedHop, stage: Stage) -> WalkedHop:
    """The hop, unless it is wrong.

    Raises:
        NumericError: it is.
    """
    stage.detail = _detail(hop)
    judged = hop.verification
    if judged is None or judged.verdict != "wrong":
        return hop
    stage.outcome = "failed"
    evidence = list(judged.problems[:3])
    if judged.divergence is not None:
        evidence.append(str(judged.divergence))
    raise NumericError(
        f"the result of {hop.step.converter} does not compute what the original does: "
        + "; ".join(evidence),
        hint=_wrong_hint(hop),
    )


def _wrong_hint(hop: WalkedHop) -> str:
    if hop.predecessor is not None and hop.predecessor.verdict == "wrong":
        return f"This hop is the culprit: its own input {hop.step.source} was still right."
    if hop.attempts:
        tried = ", ".join(f"{a.recipe.name} {a.sqnr_db:.1f} dB" for a in hop.attempts)
        return f"Tried: {tried}. More or better calibration data may help."
    return "--avoid or --via choose another road; `convkit plan --explain` lists them."


def _detail(hop: WalkedHop) -> str:
    parts = []
    if hop.recipe is not None:
        parts.append(hop.recipe.name)
    if hop.verification is not None:
        parts.append(hop.verification.verdict)
        if hop.verification.slices:
            parts.append(f"{hop.verification.sqnr_db:.1f} dB")
    return ", ".join(parts)
