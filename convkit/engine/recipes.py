"""The ladder of recipes: what to keep in float when everything in integers does not do.

The first rung is chosen by what the float model's outputs look like, the climb is decided by
measurement, and every region is found by structure, never by a layer's name.
"""

from __future__ import annotations

from collections.abc import Sequence

from convkit.quant import LayerInfo, QuantRecipe, QuantRule

HEAVY_SHARE = 0.01
"""An operator with at least this share of all multiply-accumulates, or of all parameters, does
the model's real work; an island of float must not swallow it."""

FULL = QuantRecipe("nothing kept in float")


def ladder(layers: Sequence[LayerInfo], outputs_mix_kinds: bool) -> tuple[QuantRecipe, ...]:
    """Recipes to try, fewest float layers first.

    Args:
        layers: of the float artifact, in execution order.
        outputs_mix_kinds: an output holds parts of very different magnitude (boxes in pixels
            beside scores in 0..1), which no single integer scale can carry.
    """
    island = output_island(layers)
    rungs = [] if outputs_mix_kinds and island else [FULL]
    reason = (
        "an output mixes magnitudes that one integer scale cannot carry"
        if outputs_mix_kinds
        else "everything behind the last heavy operator, where errors reach the output undamped"
    )
    if island:
        rungs.append(QuantRecipe("float output island", (QuantRule(island, reason),)))
    light = tuple(layer.name for layer in layers if layer.name not in heavy(layers))
    if light and set(light) != set(island):
        why = "only the operators that hold the multiply-accumulates are worth integers here"
        rungs.append(QuantRecipe("integers in heavy operators only", (QuantRule(light, why),)))
    return tuple(rungs)


def asked(
    rules: tuple[QuantRule, ...], rungs: Sequence[QuantRecipe] = ()
) -> tuple[QuantRecipe, ...]:
    """What the user wants in float: that alone, or on top of each rung of the ladder."""
    if not rungs:
        return (QuantRecipe("kept in float as asked for", rules),)
    if not rules:
        return tuple(rungs)
    return tuple(
        QuantRecipe(
            f"{rung.name}, and what was asked for" if rung.rules else "kept in float as asked for",
            (*rules, *rung.rules),
        )
        for rung in rungs
    )


def heavy(layers: Sequence[LayerInfo]) -> frozenset[str]:
    """Names of the operators that do the work; see `HEAVY_SHARE`."""
    macs = sum(layer.macs for layer in layers)
    parameters = sum(layer.parameter_count for layer in layers)
    return frozenset(
        layer.name
        for layer in layers
        if layer.macs
        and (
            layer.macs >= HEAVY_SHARE * macs
            or layer.parameter_count >= HEAVY_SHARE * max(parameters, 1)
        )
    )


def output_island(layers: Sequence[LayerInfo]) -> tuple[str, ...]:
    """All operators between the last heavy ones and the outputs, in execution order.

    Walks from the outputs backwards and stops at heavy operators. In a detector that is the
    post-processing: decode, activation of the scores, concatenation.
    """
    stop = heavy(layers)
    producer = {tensor: layer for layer in layers for tensor in layer.outputs}
    consumed = {tensor for layer in layers for tensor in layer.inputs}
    front = [layer for layer in layers if not any(t in consumed for t in layer.outputs)]
    island: set[str] = set()
    while front:
        layer = front.pop()
        if layer.name in island or layer.name in stop:
            continue
        island.add(layer.name)
        front.extend(producer[t] for t in layer.inputs if t in producer)
    everything = not stop or all(layer.name in island for layer in layers)
    return () if everything else tuple(x.name for x in layers if x.name in island)
