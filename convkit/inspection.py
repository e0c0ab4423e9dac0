"""What an artifact really is, as read from its bytes and not from its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from convkit.artifact import State, TensorSpec, Trait
from convkit.quant import LayerInfo


@dataclass(frozen=True)
class Inspection:
    """The inspector's findings.

    Attributes:
        state: format and *true* precision as found in the file. `int8` means that weights and
            activations of the operators with multiply-accumulates are integers.
        inputs, outputs: in the file's own order.
        digest: sha256 of the canonical content; empty where the plain file digest will do.
        operators: operator type to count.
        parameter_bytes: dtype to bytes of constant operands.
        layers: every operator in execution order; empty where the format hides its graph.
        traits: see `Artifact.traits`.
        producer: the tool that wrote the file, where it says so.
        companions: further files that the artifact consists of, such as external weights, as
            paths relative to its own folder; none for a directory.
    """

    state: State
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    digest: str = ""
    operators: Mapping[str, int] = field(default_factory=dict)
    parameter_bytes: Mapping[str, int] = field(default_factory=dict)
    layers: tuple[LayerInfo, ...] = ()
    traits: Mapping[str, Trait] = field(default_factory=dict)
    producer: str = ""
    companions: tuple[str, ...] = ()

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference, over all layers."""
        return sum(layer.macs for layer in self.layers)

    @property
    def integer_macs(self) -> int:
        """The part of `macs` that is computed in integers."""
        return sum(layer.macs for layer in self.layers if "int" in layer.compute)

    @property
    def float_islands(self) -> tuple[str, ...]:
        """Layers with arithmetic that compute in float inside a file with integer arithmetic;
        shapes that are computed in int64 do not make one."""
        if not self.integer_macs:
            return ()
        return tuple(
            layer.name
            for layer in self.layers
            if layer.compute.startswith(("float", "bfloat"))
            and layer.op_type not in ("QUANTIZE", "DEQUANTIZE")
        )
