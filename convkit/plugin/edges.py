"""Converters and quantizers: what a plugin implements for an edge of the graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from convkit.artifact import Artifact, State, Trait
from convkit.calibration import CalibrationData
from convkit.environment import IsolatedEnvironment
from convkit.plans import OptionValue
from convkit.plugin.implementation import Implementation
from convkit.quant import QuantRecipe


@dataclass(frozen=True)
class Option:
    """A typed option of a converter; the type is that of the default.

    Attributes:
        choices: the only values allowed, where not empty.
        minimum, maximum: bounds of a number, inclusive.
        repairs: other values that the analyzer tries where a quantized model is not accurate
            enough, before it keeps more in float; none of them may cost speed.
    """

    name: str
    default: OptionValue
    help: str
    choices: tuple[OptionValue, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    repairs: tuple[OptionValue, ...] = ()


@dataclass(frozen=True)
class TraitRequirement:
    """The edge works only on artifacts whose trait is one of `one_of`, or lies in the bounds.

    An artifact that does not carry the trait is given the benefit of the doubt at planning time
    only if nothing upstream can provide it.

    Attributes:
        soft: what another edge makes must meet it, but an original that does not is given a try;
            the edge's `check` then has the last word.
    """

    trait: str
    one_of: tuple[Trait, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    soft: bool = False


@dataclass(frozen=True)
class TraitProvision:
    """What the edge's result carries.

    Either `value` (always that), or `option`: the trait has the value of that option, which the
    planner may set to anything in the option's own choices or bounds.
    """

    trait: str
    value: Trait | None = None
    option: str = ""


@dataclass(frozen=True)
class Obstacle:
    """Something in a model that an edge cannot convert.

    Attributes:
        what: the operator or the property, such as `Erf` or `a recurrent state`.
        layers: names of the layers that hold it, as the source's inspector reports them.
        remedy: what the user could do; empty where nothing is known.
    """

    what: str
    layers: tuple[str, ...] = ()
    remedy: str = ""


@dataclass(frozen=True)
class HopContext:
    """What a hop may use besides its input.

    Attributes:
        workdir: an empty private folder, deleted afterwards.
        calibration: present where the converter declares `needs_calibration`.
        recipe: what to keep in float, for converters that declare `takes_recipe`.
        seed, threads: for determinism; 0 threads leaves the choice to the tool.
        cpu_features: see `Environment`; empty where unknown.
        progress: call it with a phase in words and, where known, a fraction in 0..1.
    """

    workdir: Path
    progress: Callable[[str, float | None], None]
    calibration: CalibrationData | None = None
    recipe: QuantRecipe | None = None
    seed: int = 0
    threads: int = 0
    cpu_features: frozenset[str] = frozenset()


@runtime_checkable
class Converter(Implementation, Protocol):
    """An edge of the graph: a converter (changes the format), a quantizer (keeps the format,
    lowers the precision), both at once, or a preparation (source == target, changes traits).

    `requirements` is empty for an isolated environment, whose lock says it all.
    """

    @property
    def source(self) -> State:
        """Where it starts."""

    @property
    def target(self) -> State:
        """Where it leads."""

    @property
    def loss(self) -> int:
        """Expected loss of fidelity: 0 float-exact, 1 about 1e-3 (fp16), 2 dynamic int8, 3 static
        int8; 1 more for a road known to be weaker than a rival."""

    @property
    def seconds(self) -> float:
        """Rough cost on a small model, start-up of its environment included."""

    @property
    def isolated(self) -> IsolatedEnvironment | None:
        """An environment of its own, or None for the main one."""

    @property
    def options(self) -> tuple[Option, ...]:
        """Typed options."""

    @property
    def requires(self) -> tuple[TraitRequirement, ...]:
        """What its input must be."""

    @property
    def provides(self) -> tuple[TraitProvision, ...]:
        """What its result carries."""

    @property
    def needs_calibration(self) -> bool:
        """Whether it is a static quantizer."""

    @property
    def takes_recipe(self) -> bool:
        """Whether it can keep named layers in float."""

    @property
    def widens(self) -> bool:
        """Whether it writes out in a better precision what its source holds, so that not a number
        is lost: the one way in which an edge may raise precision. The planner lets a path begin
        with it and nothing else."""

    @property
    def float_twin(self) -> str:
        """Name of the converter that makes the float artifact in the *target* format whose layer
        names the recipe refers to; empty where the source itself is that."""

    def check(self, artifact: Artifact, options: Mapping[str, OptionValue]) -> Sequence[Obstacle]:
        """What in this artifact the edge cannot convert, found without converting: from the tool's
        own table of operators, in seconds at most. Empty where nothing is known against it. Runs
        in the edge's own environment, before any hop of the path where the artifact is the
        original model."""

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, OptionValue],
        context: HopContext,
    ) -> Artifact:
        """Write the result to `output` (a file path with the target's suffix, or a directory
        path, neither existing yet) and describe it.

        Inputs and outputs of the returned artifact are listed in the order of the source's.
        Nothing outside `output` and `context.workdir` is written and the source is not changed.

        Raises:
            ConversionError: with the tool's own exception as its cause.
        """


class ConverterBase:
    """Defaults for a converter's attributes; a subclass overrides those that differ.

    A plain class on purpose: every command line builds all edges, and a dataclass costs close to
    a millisecond each.
    """

    name: str = ""
    source: State = State("")
    target: State = State("")
    requirements: tuple[str, ...] = ()
    loss: int = 0
    seconds: float = 10.0
    isolated: IsolatedEnvironment | None = None
    options: tuple[Option, ...] = ()
    requires: tuple[TraitRequirement, ...] = ()
    provides: tuple[TraitProvision, ...] = ()
    needs_calibration: bool = False
    takes_recipe: bool = False
    widens: bool = False
    float_twin: str = ""

    def check(self, artifact: Artifact, options: Mapping[str, OptionValue]) -> Sequence[Obstacle]:
        """Nothing is known against any artifact."""
        return ()
