"""Plans: edges chosen, options bound, and the alternatives that were turned down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from convkit.artifact import State

OptionValue = bool | int | float | str


@dataclass(frozen=True)
class Step:
    """One hop of a plan.

    Attributes:
        converter: the edge's unique name, such as `torch.onnx-legacy`.
        source, target: equal where the step is a preparation (it changes traits only).
        options: every option with its value, defaults included.
        bound: names of options that the planner set because a later step requires it.
        environment: name of the isolated environment, or empty for the main one.
    """

    converter: str
    source: State
    target: State
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    bound: tuple[str, ...] = ()
    environment: str = ""


@dataclass(frozen=True, order=True)
class Cost:
    """Lexicographic: expected loss of fidelity, then hops, then expected seconds."""

    loss: int
    hops: int
    seconds: float


@dataclass(frozen=True)
class Rejection:
    """An edge (or a whole path) that cannot be used, why, and what would cure it."""

    subject: str
    reason: str
    remedy: str = ""


@dataclass(frozen=True)
class Path:
    """One way from the source to one target."""

    steps: tuple[Step, ...]
    cost: Cost

    def __str__(self) -> str:
        states = [str(self.steps[0].source)] if self.steps else []
        return " -> ".join(states + [str(s.target) for s in self.steps if s.source != s.target])


@dataclass(frozen=True)
class Plan:
    """Ranked paths to one target; the first is taken, the others are fallbacks."""

    source: State
    target: State
    paths: tuple[Path, ...]
    rejections: tuple[Rejection, ...] = ()
