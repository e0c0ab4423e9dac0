"""What a plugin implements for the analyzer. Kept apart, since planning needs none of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from convkit.artifact import Artifact
from convkit.plugin.implementation import Implementation
from convkit.plugin.runtimes import TracedTensor
from convkit.quant import LayerInfo


@dataclass(frozen=True)
class RankSettings:
    """How a ranker is to imitate a quantizer, and what it may spend.

    Attributes:
        activation_bits, weight_bits: of the integers.
        symmetric: ranges of activations have zero in the middle.
        per_channel: one scale per output channel of a weight.
        gradients: samples whose gradients are taken, of those that are given.
        probes: random directions per sample in which the outputs are looked at. Two keep a ranking
            within eight float passes; more samples tell more than more probes of the same.
        together: sets of tensors that are really rounded as well, and run: everything, everything
            but the worst tensor, everything but the two worst, ... Each costs one to three passes.
            A ranker may leave it out.
    """

    activation_bits: int = 8
    weight_bits: int = 8
    symmetric: bool = False
    per_channel: bool = True
    gradients: int = 12
    probes: int = 2
    together: int = 0
    seed: int = 0
    threads: int = 0


@dataclass(frozen=True)
class Together:
    """What rounding a set of tensors together really did, in the ranker's own arithmetic.

    Attributes:
        activations, weights: bool arrays (tensors,): which were rounded.
        error: the relative error power of the outputs, over the samples whose gradients were taken.
    """

    activations: Any
    weights: Any
    error: float


@dataclass(frozen=True)
class Ranking:
    """First-order effects of quantizing single tensors.

    Column k belongs to the k-th tensor that was shown. A row is one probe of one sample: the scalar
    product of a tensor's quantization error with the gradient, by that tensor, of a random
    combination of the outputs. The mean of the square of a sum of columns estimates the relative
    error power that quantizing these tensors together causes at the outputs.

    Attributes:
        activations: float64 array (rows, tensors): of quantizing the tensor itself.
        weights: the same, of quantizing the weights of the operator that computes it; 0 where it
            has none.
        weighted: bool array (tensors,): whether it has any.
        forward, backward: passes per sample whose gradients are taken.
        float_passes: time of all of it over that of one plain float pass over the same samples.
        together: sets that were really rounded, each without some of the one before; the analyzer
            expects large errors better where it has them.
    """

    activations: Any
    weights: Any
    weighted: Any
    forward: int
    backward: int
    float_passes: float
    together: tuple[Together, ...] = ()


@runtime_checkable
class Ranker(Implementation, Protocol):
    """Tells how much each tensor of a float model suffers from quantization, in a number of float
    passes that does not grow with the number of layers."""

    @property
    def format(self) -> str:
        """Id of the format that it reads."""

    def rank(
        self,
        artifact: Artifact,
        samples: Sequence[Sequence[Any]],
        settings: RankSettings,
        parts: Callable[[Sequence[Any]], Sequence[tuple[slice, ...]]],
        show: Callable[[TracedTensor], None],
        progress: Callable[[str, float | None], None],
    ) -> Ranking:
        """Rank all tensors: inputs of the model and results of its operators.

        Args:
            samples: numpy arrays in the order and dtypes of `artifact.inputs`.
            parts: from one output's values on all samples (float32 arrays) the index of each of
                its slices of one kind, such as boxes beside scores; together they are all of it.
            show: to be called once for each floating-point tensor, with its value on the first
                sample; the inputs first (`op_type` is `input`), then in execution order. Operators
                that runtimes take apart (SiLU, hard swish, ...) are taken apart here.

        Raises:
            ConversionError: the model has no gradient, or cannot be run.
        """


@runtime_checkable
class ExclusionRule(Implementation, Protocol):
    """A prior of the analyzer: layers of one structure that are known to suffer from integers. It
    says where to look first; measurement decides. Runs in the user's process: standard library
    only."""

    @property
    def reason(self) -> str:
        """Why they suffer, for the report."""

    def find(self, layers: Sequence[LayerInfo], kind: Callable[[str], str]) -> Sequence[str]:
        """Names of the layers of this structure; none where there is no such.

        Args:
            layers: of a float model of any format, in execution order.
            kind: from a format's own operator name to a common word: `conv`, `matmul`, `softmax`,
                `concat`, `sigmoid`, `mul`, `gather`, ...
        """
        ...
