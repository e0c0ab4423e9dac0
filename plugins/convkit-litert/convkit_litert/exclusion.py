"""Keeping named layers in float: exact rules for ai-edge-quantizer, and the proof afterwards."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from convkit.errors import ConversionError
from convkit.plugin import LayerInfo

_SCOPE_LIMIT = 10_000
"""ai-edge-quantizer cuts an operator's scope here before it matches it."""


def select(layers: Sequence[LayerInfo], names: Iterable[str]) -> tuple[LayerInfo, ...]:
    """The layers with these names, in the file's order.

    Raises:
        ConversionError: a name that no layer bears, with near misses.
    """
    wanted = set(names)
    known = {layer.name: layer for layer in layers}
    for name in sorted(wanted - known.keys()):
        near = get_close_matches(name, known, n=3, cutoff=0.4)
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        raise ConversionError(
            f"there is no layer called {name!r} in the float TFLite file",
            hint=hint + "`convkit inspect` lists the layers.",
        )
    return tuple(layer for layer in layers if layer.name in wanted)


def pattern(layers: Sequence[LayerInfo]) -> str:
    """A regular expression that matches the scopes of exactly these layers.

    ai-edge-quantizer searches it in an operator's scope: the names of all its output tensors,
    each followed by a semicolon. Tensor names are unique in a file, so whole scopes are too.
    """
    scopes = ("".join(f"{name};" for name in layer.outputs)[:_SCOPE_LIMIT] for layer in layers)
    return rf"\A(?:{'|'.join(map(re.escape, scopes))})\Z"


def prove(excluded: Sequence[LayerInfo], result: Sequence[LayerInfo]) -> None:
    """Check in the quantized file that the layers compute in float as they did before.

    Raises:
        ConversionError: naming the layers that do not.
    """
    found = {layer.name: layer for layer in result}
    broken = [
        layer.name
        for layer in excluded
        if layer.name not in found or found[layer.name].compute != layer.compute
    ]
    if broken:
        raise ConversionError(
            f"ai-edge-quantizer did not keep {len(broken)} of {len(excluded)} layers in float: "
            f"{', '.join(broken[:5])}",
        )
