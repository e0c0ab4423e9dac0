"""What a plugin implements. Standard library only: isolated workers import this file too.

Implementations are small objects whose attributes are cheap data; they import their framework
inside methods, which run in a worker process. An engine that calls them checks every declared
property, and `convkit.testing` lets a plugin's author check them beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from convkit.artifact import Artifact, ReadOptions, State, Trait
from convkit.calibration import CalibrationData
from convkit.environment import IsolatedEnvironment
from convkit.inspection import Inspection
from convkit.plans import OptionValue
from convkit.quant import QuantRecipe

if TYPE_CHECKING:  # many dataclasses, which planning does not need
    from convkit.delegates import ExecutionProfile, Operation
    from convkit.lint import Preparation


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


class Implementation(Protocol):
    """What everything that a plugin offers has. Attributes are read-only: frozen is welcome."""

    @property
    def name(self) -> str:
        """Unique among its kind over all plugins, `<tool>.<what>`."""

    @property
    def requirements(self) -> tuple[str, ...]:
        """Distributions needed, as `name` or `name>=1.2`, or `this|that` where one is enough;
        looked up, never imported."""


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


class Session(Protocol):
    """An opened model."""

    def run(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """One inference: numpy arrays in the order and dtypes of `artifact.inputs`, batch axis
        included; arrays out in the order of `artifact.outputs`. Integer inputs and outputs that
        carry a scale are quantized and dequantized by the session: floats go in and come out."""


@runtime_checkable
class Runner(Implementation, Protocol):
    """Executes artifacts of one format; verification, sensitivity and benchmarks stand on it."""

    @property
    def format(self) -> str:
        """Id of the format."""

    def open(self, artifact: Artifact, threads: int) -> Session:
        """Load the model.

        Raises:
            ConversionError: when the runtime cannot load it.
        """


@dataclass(frozen=True)
class TracedTensor:
    """The value of one intermediate tensor.

    Attributes:
        layer: name of the layer that wrote it, as the format's inspector reports it.
        op_type: the format's own operator name.
        scope: the module path in the original source where known, else empty.
        value: a float32 numpy array (dequantized where the file computes in integers).
        tensor: the tensor's own name in the file.
    """

    layer: str
    op_type: str
    scope: str
    value: Any
    tensor: str = ""


@runtime_checkable
class Tracer(Runner, Protocol):
    """A runner that can also show what happens inside: a diverging layer is found with it."""

    def trace(
        self, artifact: Artifact, inputs: Sequence[Any], threads: int
    ) -> Iterator[TracedTensor]:
        """One inference; the floating-point results of all layers in execution order, the model's
        outputs among them. Inputs as in `Session.run`. Optimizations that would fuse layers away
        are off where the runtime lets them be.

        Raises:
            ConversionError: when the runtime cannot load the model or cannot show its inside.
        """


@runtime_checkable
class Profiler(Runner, Protocol):
    """A runner that can tell which kernels run, in which arithmetic and for how long."""

    def profile(
        self, artifact: Artifact, inputs: Sequence[Any], threads: int, runs: int, folder: Path
    ) -> ExecutionProfile:
        """Some inferences after a warm-up; `model` of the answer is left empty. Layers of the
        model are called as the format's inspector calls them. The runtime optimizes as it would in
        production.

        Args:
            inputs: as in `Session.run`.
            folder: an empty private one, for files that the runtime insists on; deleted afterwards.

        Raises:
            ConversionError: when the runtime cannot load or run the model.
        """


@runtime_checkable
class Inspector(Implementation, Protocol):
    """Reads artifacts of one format."""

    @property
    def format(self) -> str:
        """Id of the format."""

    def inspect(self, path: Path, read: ReadOptions) -> Inspection:
        """Read the file and say what it is.

        Raises:
            InputError: corrupt, truncated, or not of this format.
            UnsafeError: reading it would run code and `read.trust` is False.
        """


@runtime_checkable
class Renamer(Inspector, Protocol):
    """An inspector of a format whose files name their companions inside."""

    def rename(self, path: Path, names: Mapping[str, str]) -> None:
        """Let the file refer to its companions by other names, in place. The companions
        themselves are none of its business and need not exist.

        Args:
            names: old name to new name, both in the file's own folder.
        """


@runtime_checkable
class OperationReader(Inspector, Protocol):
    """An inspector that can also tell what the rules of accelerators ask about operators."""

    def operations(self, path: Path, read: ReadOptions) -> Sequence[Operation]:
        """Every operator of the main graph in the order of execution, called as `inspect` calls
        its layer.

        Raises:
            InputError, UnsafeError: see `inspect`.
        """


@dataclass(frozen=True)
class Sample:
    """A bundled example.

    Attributes:
        name: what the user types.
        folder: the data inside the installed package.
        model: the model's path in the folder.
        calibration, validation: folders in it, or empty.
        metric: the metric that its validation data is for, or empty.
    """

    name: str
    title: str
    folder: Path
    model: str
    calibration: str = ""
    validation: str = ""
    metric: str = ""


@runtime_checkable
class CalibrationSource(Implementation, Protocol):
    """Reads one kind of calibration data."""

    def accepts(self, path: Path) -> bool:
        """Whether this reader is for the path; cheap, from names and suffixes only."""

    def files(self, path: Path) -> tuple[Path, ...]:
        """All files whose content decides the samples (data and `calibration.toml`), sorted."""

    def describe(self, path: Path, artifact: Artifact, overrides: Mapping[str, Any]) -> str:
        """What `read` does to the data, in words for the manifest; empty where it does nothing."""
        ...

    def read(
        self,
        path: Path,
        artifact: Artifact,
        overrides: Mapping[str, Any],
        limit: int | None,
        seed: int,
    ) -> Iterator[Sequence[Any]]:
        """Yield samples: numpy arrays in the order of `artifact.inputs`, batch axis included.

        Args:
            overrides: transform settings given as flags; they win over `calibration.toml`.

        Raises:
            CalibrationError: unreadable, wrong shape, or no transform declared.
        """
        ...


@runtime_checkable
class OrderedSource(CalibrationSource, Protocol):
    """A calibration source whose data has an order that people know: file names, rows."""

    def samples(
        self, path: Path, artifact: Artifact, limit: int | None
    ) -> Iterator[tuple[str, Sequence[Any]]]:
        """The first `limit` samples in the data's own order, each with its name: of a file, its
        path inside the folder, of a row, its number from 0. Else as `read`."""
        ...


@runtime_checkable
class DeclaringSource(CalibrationSource, Protocol):
    """A calibration source of images that can say how they become the model's input."""

    def preparation(
        self, path: Path, artifact: Artifact, overrides: Mapping[str, Any]
    ) -> Preparation | None:
        """What is declared, for the calibration lint; None where nothing is. Cheap: from settings
        files only, and called outside of workers.

        Args:
            overrides: as in `read`.

        Raises:
            CalibrationError: what is declared is wrong.
        """
        ...


@dataclass(frozen=True)
class MetricResult:
    """A metric on one model.

    Attributes:
        name: such as `coco-map`.
        value: the headline number, higher is better.
        details: further numbers by name.
        samples: how many samples it is over.
        problems: what makes the value doubtful, in words, such as an output without detections.
    """

    name: str
    value: float
    details: Mapping[str, float] = field(default_factory=dict)
    samples: int = 0
    problems: tuple[str, ...] = ()


@runtime_checkable
class Metric(Implementation, Protocol):
    """A task metric over a labelled data set; all methods run in a worker."""

    def inputs(
        self, data: Path, artifact: Artifact, limit: int | None
    ) -> Iterator[Sequence[Any]] | None:
        """Pre-processed samples in the data set's order, as `CalibrationSource.read`.

        None leaves reading to the calibration source that accepts the data, in its own order.
        """
        ...

    def score(
        self, data: Path, outputs: Iterable[Sequence[Any]], limit: int | None
    ) -> MetricResult:
        """Post-process the outputs (one sequence of arrays per sample) and score them."""

    def picture(
        self, data: Path, outputs: Mapping[str, Sequence[Sequence[Any]]], path: Path
    ) -> bool:
        """Draw a few samples side by side, one column per model; False where it has no picture.

        Args:
            outputs: title of a model to its outputs on the first samples.
            path: the PNG to write.
        """
        ...


@runtime_checkable
class DeclaringMetric(Metric, Protocol):
    """A metric over images that can say how they become the model's input."""

    def preparation(self, data: Path) -> Preparation | None:
        """What is declared with the data set; as `DeclaringSource.preparation`.

        Raises:
            InputError: what is declared is wrong.
        """
        ...


@runtime_checkable
class ReferenceMetric(Metric, Protocol):
    """A metric that needs no labels: it holds a model's outputs against those of the reference.

    The engine calls `score_against`; `score` raises.
    """

    def score_against(
        self,
        data: Path,
        outputs: Iterable[Sequence[Any]],
        reference: Iterable[Sequence[Any]],
        limit: int | None,
    ) -> MetricResult:
        """Score the outputs; `reference` has the other model's, sample by sample. A model held
        against itself has the best value there is."""
        ...
