"""Which operators of a model an accelerator would take: rules, kept as data, and their verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Reason = Literal["mapped", "subgraph", "operator", "version", "dtype", "rank", "dynamic", "limit"]
"""Why an operator is where it is: taken; taken but for the number of subgraphs; not in the rules;
too new; wrong types; too many axes; sizes not known beforehand; another limit of its rule."""

REASONS: tuple[Reason, ...] = (
    "mapped",
    "subgraph",
    "operator",
    "version",
    "dtype",
    "rank",
    "dynamic",
    "limit",
)

Scalar = str | int | float | bool


@dataclass(frozen=True)
class Operand:
    """An input or output of an operator.

    Attributes:
        shape: None for a size that cannot be known before a run.
        constant: stored in the file, or computed from what is.
        values: elements of a small integer constant (axes, paddings, strides), row by row.
        scale, zero_point: of a quantized tensor with one scale.
        channels: number of scales; 0 for a tensor that is not quantized.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    constant: bool = False
    values: tuple[int, ...] = ()
    scale: float | None = None
    zero_point: int | None = None
    channels: int = 0


@dataclass(frozen=True)
class Operation:
    """One operator with all that a delegate's rules speak of.

    Attributes:
        layer: the inspector's name of the layer.
        version: of the operator, as the file says.
        inputs: None for an optional one that is left out.
        attributes: the operator's own options, in the format's spelling.
    """

    layer: str
    op_type: str
    inputs: tuple[Operand | None, ...]
    outputs: tuple[Operand, ...]
    version: int = 1
    attributes: Mapping[str, Scalar] = field(default_factory=dict)
    macs: int = 0
    scope: str = ""

    @property
    def folded(self) -> bool:
        """It works on constants alone, such as weights in float16 that are to be expanded."""
        given = [operand for operand in self.inputs if operand is not None]
        return bool(given) and all(operand.constant for operand in given)


@dataclass(frozen=True)
class OperatorRule:
    """One set of terms on which a delegate takes an operator.

    Attributes:
        max_version: the highest version of the operator that is taken, None for any.
        dtypes: dtypes of activations that are taken; empty for those of the delegate.
        conditions: further limits by name; `convkit.plugin.delegate_rules.CONDITIONS` lists them.
        status: the delegate's own wording where a condition is not met; empty for its usual one.
        stranded: its wording for an operator that writes an output of the model and is not taken
            for the number of subgraphs only; empty for the usual one.
        note: a limit that cannot be checked from the file alone, in words.
        remedy: what gets the operator taken where these terms are not met.
    """

    max_version: int | None = None
    dtypes: tuple[str, ...] = ()
    conditions: Mapping[str, Scalar] = field(default_factory=dict)
    status: str = ""
    stranded: str = ""
    note: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class DelegateRules:
    """The rules of one delegate for one format.

    Attributes:
        name: what the user types, such as `edgetpu`.
        format: id of the format whose operators are spoken of.
        source, version, retrieved: where the rules were published, in which version, and when they
            were read.
        operators: the terms for each operator; any of them is enough.
        statuses: the delegate's wording for each reason.
        remedies: what to do about an operator that is in no rule, by operator; `*` for any other.
        dtypes: dtypes of activations that it takes at all.
        dtype_of: whether all activations are held against them, or the first output only.
        innermost: sizes greater than 1 are taken in so many innermost axes only; 0 for any.
        max_subgraphs: how many parts of the graph are taken, 0 for any number; `keep` says which.
        min_operators: smaller parts are left to the processor.
        folds_constants: operators on constants alone vanish into their consumers.
        dynamic_shapes: whether tensors whose size is not known beforehand are taken.
    """

    name: str
    title: str
    format: str
    source: str
    version: str
    retrieved: str
    operators: Mapping[str, tuple[OperatorRule, ...]]
    statuses: Mapping[str, str]
    remedies: Mapping[str, str] = field(default_factory=dict)
    dtypes: tuple[str, ...] = ()
    dtype_of: Literal["activations", "output"] = "activations"
    innermost: int = 0
    max_subgraphs: int = 0
    keep: Literal["first", "largest"] = "largest"
    min_operators: int = 1
    folds_constants: bool = False
    dynamic_shapes: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class DelegatedLayer:
    """One operator and what becomes of it.

    Attributes:
        layer: the inspector's name.
        status: in the delegate's own wording; `mapped` says whether it is taken, `reason` why not.
        subgraph: number of the delegated part that it belongs to, None on the processor.
        remedy: what would get it taken; empty where nothing is known.
    """

    layer: str
    op_type: str
    status: str
    mapped: bool
    scope: str = ""
    subgraph: int | None = None
    remedy: str = ""
    reason: str = ""
    macs: int = 0


@dataclass(frozen=True)
class DelegateMap:
    """A model under a delegate's rules.

    Attributes:
        model: title of the model.
        delegate: title of the delegate; `source`, `version`, `retrieved` as in its rules.
        subgraphs: delegated parts.
        mapped_macs: share of the multiply-accumulates that the delegate takes, None without any.
    """

    model: str
    delegate: str
    source: str
    version: str
    retrieved: str
    layers: tuple[DelegatedLayer, ...]
    subgraphs: int
    mapped_macs: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def mapped(self) -> int:
        """Operators that the delegate takes."""
        return sum(layer.mapped for layer in self.layers)

    @property
    def table(self) -> tuple[tuple[str, int, str], ...]:
        """Operator, count and status, as the accelerators' own compilers print it."""
        counts: dict[tuple[str, str], int] = {}
        for layer in self.layers:
            key = (layer.op_type, layer.status)
            counts[key] = counts.get(key, 0) + 1
        return tuple((op, n, status) for (op, status), n in counts.items())


@dataclass(frozen=True)
class ExecutedLayer:
    """One kernel that a runtime really ran.

    Attributes:
        name: the runtime's own; `layers` are the model's layers that it stands for, where known.
        compute: dtype in which it computed, such as `int8` or `float32`; empty where the runtime
            does not say.
        kernel: the implementation's name where the runtime says it (`jit_avx2_I8`).
        seconds: mean time of one inference spent in it; 0 where the runtime does not say.
    """

    name: str
    op_type: str
    compute: str
    seconds: float
    kernel: str = ""
    layers: tuple[str, ...] = ()

    @property
    def integer(self) -> bool:
        """Whether it computed on quantized numbers; indices and shapes are none."""
        return self.compute.startswith(("int8", "uint8", "int4", "uint4", "int16"))


@dataclass(frozen=True)
class ExecutionProfile:
    """Where a runtime's time goes, and in which arithmetic.

    Attributes:
        layers: in the order of execution.
        wall_seconds: mean time of one inference as seen from outside, profiling included.
        integer_macs: share of the model's multiply-accumulates whose layers ran in integer kernels;
            None where the model has none, or the runtime does not say which layers a kernel stands
            for.
        notes: what the runtime cannot show, in words.
    """

    model: str
    runner: str
    layers: tuple[ExecutedLayer, ...]
    runs: int
    wall_seconds: float = 0.0
    integer_macs: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Time of one inference, summed over kernels."""
        return sum(layer.seconds for layer in self.layers)

    @property
    def integer_seconds(self) -> float:
        """The part of `seconds` spent in integer arithmetic."""
        return sum(layer.seconds for layer in self.layers if layer.integer)
