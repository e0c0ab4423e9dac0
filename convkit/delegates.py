"""Which operators of a model an accelerator would take: rules, kept as data, and their verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class OperatorRule:
    """What a delegate's published rules say about one operator.

    Attributes:
        max_version: the highest version of the operator that is taken, None for any.
        dtypes: activation dtypes that are taken; empty for any that the delegate takes.
        conditions: further limits by name, as the rules' own file documents them.
        note: a limit that cannot be checked from the file alone, in words.
    """

    max_version: int | None = None
    dtypes: tuple[str, ...] = ()
    conditions: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class DelegateRules:
    """The rules of one delegate for one format.

    Attributes:
        name: what the user types, such as `edgetpu`.
        format: id of the format whose operators are spoken of.
        source, version, retrieved: where the rules were published, in which version, and when they
            were read.
        dtypes: activation dtypes that it takes at all.
        one_subgraph: only the first connected part of the graph is taken; the rest stays on the
            processor.
        dynamic_shapes: whether tensors whose size is not known beforehand are taken.
    """

    name: str
    title: str
    format: str
    source: str
    version: str
    retrieved: str
    operators: Mapping[str, OperatorRule]
    dtypes: tuple[str, ...] = ()
    one_subgraph: bool = False
    dynamic_shapes: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class DelegatedLayer:
    """One operator and what becomes of it.

    Attributes:
        layer: the inspector's name.
        status: in the delegate's own wording; `mapped` says whether it is taken.
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
        seconds: mean time of one inference spent in it.
    """

    name: str
    op_type: str
    compute: str
    seconds: float
    kernel: str = ""
    layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExecutionProfile:
    """Where a runtime's time goes, and in which arithmetic.

    Attributes:
        notes: what the runtime cannot show, in words.
    """

    model: str
    runner: str
    layers: tuple[ExecutedLayer, ...]
    runs: int
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Time of one inference, summed over kernels."""
        return sum(layer.seconds for layer in self.layers)

    @property
    def integer_seconds(self) -> float:
        """The part of `seconds` spent in integer arithmetic."""
        return sum(layer.seconds for layer in self.layers if "int" in layer.compute)
