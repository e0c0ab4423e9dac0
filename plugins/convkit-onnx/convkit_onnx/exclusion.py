"""Keeping layers in float: from the recipe's names to nodes, and the proof afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from convkit.errors import ConversionError, did_you_mean
from convkit.plugin import LayerInfo

if TYPE_CHECKING:
    import onnx

REWRITTEN = ("", "_MatMul")
"""The dynamic quantizer makes a MatMul and an Add of a Gemm, quantized or not."""


def select(
    counterparts: Mapping[str, tuple[str, ...]], layers: Iterable[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Nodes that compute the named layers, and the layers that no node computes any more.

    Raises:
        ConversionError: a name that no layer of the artifact bears.
    """
    nodes: dict[str, None] = {}
    gone = []
    for layer in layers:
        if layer not in counterparts:
            near = did_you_mean(layer, counterparts)
            raise ConversionError(
                f"there is no layer called {layer!r} in the float ONNX file",
                hint=f"{near} `convkit inspect --json` lists them.".lstrip(),
            )
        nodes.update(dict.fromkeys(counterparts[layer]))
        if not counterparts[layer]:
            gone.append(layer)
    return tuple(nodes), tuple(gone)


def separate(model: onnx.ModelProto, excluded: Iterable[str]) -> None:
    """Give the excluded nodes weights of their own where they share them with others: the tool
    quantizes a weight for all that read it."""
    spared = set(excluded)
    shared = {n for node in model.graph.node if node.name not in spared for n in node.input}
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    taken = {name for node in model.graph.node for name in (*node.input, *node.output)}
    copies: dict[str, str] = {}
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if node.name not in spared or name not in shared or name not in weights:
                continue
            if name not in copies:
                copies[name] = _unused(f"{name}/float", taken)
                copy = model.graph.initializer.add()
                copy.CopyFrom(weights[name])
                copy.name = copies[name]
            node.input[index] = copies[name]


def _unused(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def prove(
    excluded: Sequence[str], prepared: onnx.ModelProto, result: Sequence[LayerInfo]
) -> tuple[str, ...]:
    """Check that the excluded nodes multiply by weights in float.

    Answers those that multiply two activations, both of which quantized neighbours made integers
    already: a runtime computes such a node in integers, exactly, and only its result stays in
    float. Of nodes without multiplications nothing is asked.

    Raises:
        ConversionError: naming the nodes whose weights are not in float.
    """
    from convkit_onnx import layers

    facts = layers.gather(prepared)
    before = {layer.name: layer for layer in layers.model_layers(prepared, facts)}
    after = {layer.name: layer for layer in result}
    broken: list[str] = []
    harmless: list[str] = []
    for name in excluded:
        if name not in before or not before[name].macs:
            continue
        found = [after[name + end] for end in REWRITTEN if name + end in after]
        if not found or any(layer.compute != before[name].compute for layer in found):
            (broken if before[name].parameter_count or not found else harmless).append(name)
    if broken:
        raise ConversionError(
            f"ONNX Runtime's quantizer did not keep {len(broken)} of {len(excluded)} nodes in "
            f"float: {', '.join(broken[:5])}"
        )
    return tuple(harmless)
