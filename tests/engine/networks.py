"""Small random networks, and a compiler that may be told to make one mistake."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from convkit.plugin.runtimes import TracedTensor
from convkit.quant import LayerInfo
from convkit.traces import INPUT

FOREIGN = {
    "Conv": "CONV_2D",
    "BatchNormalization": "MUL_ADD",
    "Relu": "RELU",
    "Sigmoid": "LOGISTIC",
    "Identity": "RESHAPE",
    "Add": "ADD",
    "AveragePool": "AVERAGE_POOL_2D",
    "Concat": "CONCATENATION",
}
"""What another runtime calls the operators."""
FAULTS = ("sign", "bias", "noise", "gain")


@dataclass(frozen=True)
class Step:
    """One layer; tensor 0 is the input, step k makes tensor k + 1."""

    op: str
    inputs: tuple[int, ...]
    weight: Any = None
    bias: Any = None


@dataclass(frozen=True)
class Network:
    """Steps in execution order."""

    steps: tuple[Step, ...]
    width: int

    def consumers(self, tensor: int) -> list[int]:
        """Steps that read a tensor."""
        return [k for k, step in enumerate(self.steps) if tensor in step.inputs]

    def depending_on(self, step: int) -> set[int]:
        """The step and all that it has an effect on."""
        found = {step}
        for k, other in enumerate(self.steps):
            if any(i - 1 in found for i in other.inputs):
                found.add(k)
        return found


@dataclass(frozen=True)
class Trace:
    """What a runtime shows of one inference."""

    tensors: tuple[TracedTensor, ...]
    layers: tuple[LayerInfo, ...]


def random_network(seed: int, length: int, *, branches: bool = True, dead: bool = False) -> Network:
    """A network whose last step depends on every other.

    Args:
        dead: convolutions tend to negative numbers, so that many a rectifier gives only zeros.
    """
    rng = np.random.default_rng(seed)
    steps: list[Step] = []
    channels, sides = [int(rng.integers(3, 9))], [8]
    unread = {0}
    while len(steps) < length or len(unread) > 1:
        closing = len(steps) >= length
        source = len(channels) - 1 if not branches or rng.random() < 0.7 else None
        place = int(rng.choice(sorted(unread))) if closing or source is None else source
        width, side = channels[place], sides[place]
        alike = [t for t in range(len(channels)) if sides[t] == side and t != place]
        joining = [t for t in alike if channels[t] == width]
        ops = ["Conv", "BatchNormalization", "Relu", "Sigmoid", "Identity"]
        if closing:
            others = [t for t in sorted(unread - {place}) if sides[t] == side]
            ops = ["Concat"] if others else ["AveragePool"] if side > 1 else ["Conv"]
            if not others:  # bring the one with the larger picture down to the other's size
                place = max(sorted(unread), key=lambda t: sides[t])
                width, side, ops = channels[place], sides[place], ["AveragePool"]
        else:
            others = alike
            ops += (["Add"] * 2 if joining else []) + (["Concat"] if alike else [])
            ops += ["AveragePool"] if side > 2 else []
            ops += ["Conv"] * 3
        op = str(rng.choice(ops))
        inputs: tuple[int, ...] = (place,)
        weight = bias = None
        result, size = width, side
        if op == "Conv":
            result = int(rng.integers(3, 9))
            weight = rng.normal(0, 1 / np.sqrt(width), (result, width)).astype(np.float32)
            bias = rng.normal(0, 0.5, result).astype(np.float32)
            bias -= np.float32(3.0 if dead and rng.random() < 0.5 else 0.0)
        elif op == "BatchNormalization":
            weight = rng.uniform(0.5, 1.5, width).astype(np.float32)
            bias = rng.normal(0, 0.5, width).astype(np.float32)
        elif op == "Add":
            inputs = (place, int(rng.choice(joining)))
        elif op == "Concat":
            other = int(rng.choice(others))
            inputs, result = (place, other), width + channels[other]
        elif op == "AveragePool":
            size = side // 2
        steps.append(Step(op, inputs, weight, bias))
        unread -= set(inputs)
        unread.add(len(channels))
        channels.append(result)
        sides.append(size)
    return Network(tuple(steps), channels[0])


def random_input(network: Network, seed: int) -> Any:
    """An input whose values change sign."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(1, network.width, 8, 8)).astype(np.float32)


def evaluate(step: Step, inputs: list[Any]) -> Any:
    """One layer, channels first."""
    x = inputs[0]
    match step.op:
        case "Conv":
            y = np.einsum("nchw,dc->ndhw", x, step.weight) + step.bias[:, None, None]
        case "BatchNormalization":
            y = x * step.weight[:, None, None] + step.bias[:, None, None]
        case "Relu":
            y = np.maximum(x, 0)
        case "Sigmoid":
            y = 1 / (1 + np.exp(-x))
        case "Add":
            y = x + inputs[1]
        case "Concat":
            y = np.concatenate(inputs, axis=1)
        case "AveragePool":
            n, c, h, w = x.shape
            y = x.reshape(n, c, h // 2, 2, w // 2, 2).mean((3, 5))
        case _:
            y = x
    return y.astype(np.float32)


def run(network: Network, x: Any, fault: tuple[int, str] | None = None) -> list[Any]:
    """All tensors; the fault's step makes a mistake in its result."""
    values = [x]
    for k, step in enumerate(network.steps):
        y = evaluate(step, [values[i] for i in step.inputs])
        values.append(y if fault is None or fault[0] != k else spoil(y, fault[1]))
    return values


def spoil(y: Any, kind: str) -> Any:
    """A mistake in one or all channels."""
    y = y.copy()
    if kind == "sign":
        y[:, 0] = -y[:, 0]
    elif kind == "bias":
        y[:, -1] += 0.5 * (np.abs(y).max() + 0.1)
    elif kind == "noise":
        y += np.random.default_rng(5).normal(0, 0.3 * y.std() + 0.01, y.shape).astype(np.float32)
    else:
        y *= 1.37
    return y


def reference_trace(network: Network, x: Any) -> Trace:
    """As the original's runtime shows it: everything, with module paths."""
    values = run(network, x)
    return _trace(network, values, apart(network), "r", last=False, foreign=False)


def candidate_trace(
    network: Network,
    x: Any,
    fault: tuple[int, str] | None,
    *,
    channels_last: bool,
    fuse: bool,
) -> tuple[Trace, list[tuple[int, ...]]]:
    """As another runtime shows it, with the steps that each of its layers computes.

    Args:
        fuse: batch norms and rectifiers are computed in one with the convolution before them;
            identities vanish.
    """
    groups = fused(network) if fuse else apart(network)
    values = run(network, x, fault)
    return _trace(network, values, groups, "c", last=channels_last, foreign=True), groups


def apart(network: Network) -> list[tuple[int, ...]]:
    """Each step by itself."""
    return [(k,) for k in range(len(network.steps))]


def fused(network: Network) -> list[tuple[int, ...]]:
    """Which steps a runtime computes at once; an identity joins the group of its input."""
    groups: list[list[int]] = []
    home: dict[int, int] = {}
    for k, step in enumerate(network.steps):
        before = step.inputs[0] - 1
        alone = len(network.consumers(step.inputs[0])) == 1
        joins = step.op in ("BatchNormalization", "Relu") and alone
        if (
            joins
            and before in home
            and groups[home[before]][-1] == before
            and network.steps[groups[home[before]][0]].op == "Conv"
            and not (step.op == "BatchNormalization" and network.steps[before].op != "Conv")
        ):
            groups[home[before]].append(k)
            home[k] = home[before]
        else:
            home[k] = len(groups)
            groups.append([k])
    return [tuple(group) for group in groups]


def _trace(
    network: Network,
    values: list[Any],
    groups: list[tuple[int, ...]],
    prefix: str,
    *,
    last: bool,
    foreign: bool,
) -> Trace:
    name = {0: f"{prefix}in"}
    given = np.moveaxis(values[0], 1, -1) if last else values[0]
    tensors = [TracedTensor(name[0], INPUT, "", given, name[0])]
    layers: list[LayerInfo] = []
    for group in groups:
        steps = [network.steps[k] for k in group]
        op = steps[0].op
        if foreign and op == "Identity" and len(groups) < len(network.steps):
            name[group[-1] + 1] = name[steps[0].inputs[0]]  # the optimizer removed it
            continue
        shown = f"{prefix}{group[-1]}"
        name[group[-1] + 1] = shown
        value = values[group[-1] + 1]
        op = FOREIGN[op] if foreign else op
        scope = "" if foreign else f"net.{group[0]}"
        inputs = tuple(dict.fromkeys(name[i] for i in steps[0].inputs))
        layers.append(LayerInfo(f"layer_{shown}", op, inputs, (shown,), scope=scope))
        view = np.moveaxis(value, 1, -1) if last else value
        tensors.append(TracedTensor(f"layer_{shown}", op, scope, view, shown))
    return Trace(tuple(tensors), tuple(layers))


def rounded(trace: Trace, seed: int) -> Trace:
    """The trace with the noise of another runtime's float32."""
    rng = np.random.default_rng(seed)

    def noisy() -> Iterator[TracedTensor]:
        for t in trace.tensors:
            value = t.value * (1 + rng.normal(0, 3e-7, t.value.shape)).astype(np.float32)
            yield TracedTensor(t.layer, t.op_type, t.scope, value, t.tensor)

    return Trace(tuple(noisy()), trace.layers)
