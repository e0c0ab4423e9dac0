"""Keeping named layers in float."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from convkit.errors import ConversionError, did_you_mean
from convkit.plugin import HopContext


def wanted(context: HopContext, known: Collection[str]) -> tuple[str, ...]:
    """Names of the layers that the recipe keeps in float.

    Args:
        known: names of all operators of the float model.

    Raises:
        ConversionError: a name that no operator bears, with near misses.
    """
    names = context.recipe.float_layers if context.recipe else ()
    have = frozenset(known)
    for name in names:
        if name not in have:
            near = did_you_mean(name, have)
            raise ConversionError(
                f"there is no layer called {name!r} in the float model",
                hint=f"{near} `convkit inspect` lists the layers.".lstrip(),
            )
    return names


def ignored(nncf: Any, names: Iterable[str]) -> Any:
    """NNCF's own form of it; names are matched exactly. None where all is to be quantized.

    It would raise for an operator that its preprocessing has removed (a Cast to the same type),
    which is no mistake: that the names exist has been seen to by `wanted`.
    """
    listed = list(names)
    return nncf.IgnoredScope(names=listed, validate=False) if listed else None


def prove(kept: Iterable[str], quantized: Collection[str]) -> None:
    """Check that no layer of the recipe reads numbers that were quantized for it.

    Args:
        quantized: names of operators of the result with an operand that comes straight out of a
            quantizer.

    Raises:
        ConversionError: naming the layers that do.
    """
    broken = [name for name in kept if name in quantized]
    if broken:
        raise ConversionError(
            f"NNCF did not keep {len(broken)} layers in float: {', '.join(broken[:5])}"
        )
