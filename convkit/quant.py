"""Quantization nouns: schemes, rules, recipes and the layers that they speak about."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class QuantScheme:
    """How numbers are stored and computed.

    Attributes:
        precision: the coarse precision that results (`int8`, `int8-dynamic`, `fp16`).
        activations: dtype of activations, `float32` where they stay in float.
        weights: dtype of weights.
        per_channel: one scale per output channel of a weight, else one per tensor.
    """

    precision: str
    activations: str
    weights: str
    per_channel: bool = True


@dataclass(frozen=True)
class QuantRule:
    """Keep the named layers in float, and why.

    Attributes:
        layers: exact layer names as `Inspector.inspect` reports them.
        reason: shown in the report and the manifest.
    """

    layers: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class QuantRecipe:
    """What to quantize: everything, except what a rule keeps in float.

    Attributes:
        name: a short name for reports, such as `float output island`.
        rules: the exceptions.
    """

    name: str = "nothing kept in float"
    rules: tuple[QuantRule, ...] = ()

    @property
    def float_layers(self) -> tuple[str, ...]:
        """Names of all layers that stay in float, without repetition, in order."""
        return tuple(dict.fromkeys(name for rule in self.rules for name in rule.layers))


@dataclass(frozen=True)
class LayerInfo:
    """One operator of an artifact's graph, in execution order.

    Attributes:
        name: unique in the artifact; what a recipe refers to.
        op_type: the format's own operator name, such as `CONV_2D`.
        inputs, outputs: names of activation tensors (constants are left out of `inputs`).
        macs: multiply-accumulates for one inference, 0 where the operator has none.
        parameter_count: elements of its constant operands.
        compute: dtype in which it computes, `float32` or `int8` for example.
        scope: the module path in the original source where known.
    """

    name: str
    op_type: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    macs: int = 0
    parameter_count: int = 0
    compute: str = "float32"
    scope: str = ""
