"""Runners: what a plugin implements so that a format's files can be run, traced and profiled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from convkit.artifact import Artifact
from convkit.plugin.implementation import Implementation

if TYPE_CHECKING:  # many dataclasses, which planning does not need
    from convkit.delegates import ExecutionProfile


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
