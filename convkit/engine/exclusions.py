"""Layers that the user wants in float, named by patterns, by module or by type of operator."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from convkit.artifact import State
from convkit.engine.planner import Wishes
from convkit.engine.session import Settings
from convkit.errors import UsageError, did_you_mean
from convkit.plugin.edges import Converter
from convkit.quant import LayerInfo, QuantRule

FLOAT = "fp32"

AUTO = "auto"
"""Stands for what convkit itself finds worth keeping in float."""

REGULAR = "re:"
"""Begins a regular expression; other patterns are globs, as of file names."""

WILD = "*?["
"""What makes a glob of a pattern."""

_LIKENESS = 0.4
_NUMBERS = {2: "two", 3: "three", 4: "four"}


def rules(
    layers: Sequence[LayerInfo], patterns: Sequence[str], operators: Sequence[str]
) -> tuple[QuantRule, ...]:
    """One rule for each pattern and each type of operator.

    A pattern is matched, as a whole and case-sensitively, against a layer's name, against the
    path of its module in the original source (`model.22.cv2`), and against that path with the
    layer's own last name (`model.22.Concat`), so that `model.22.*` is all of module 22. A path
    without wildcards stands for the module and everything inside. `re:` begins a regular
    expression, which may match anywhere in one of the three.

    Args:
        layers: of the float artifact.
        patterns: `AUTO` among them is left to others.
        operators: types as the format spells them; case does not count.

    Raises:
        UsageError: one of them matches nothing, with near misses; or is no regular expression.
    """
    found = [_by_pattern(layers, pattern) for pattern in patterns if pattern != AUTO]
    return (*found, *(_by_type(layers, name) for name in operators))


def steered(
    wishes: Wishes, settings: Settings, converters: Iterable[Converter], targets: Iterable[State]
) -> Wishes:
    """The wishes of somebody who excludes layers: quantizers that cannot spare any are out.

    Raises:
        UsageError: nothing is quantized on the way to any target, or the settings contradict
            each other.
    """
    if AUTO in settings.exclude and settings.keep_float == "none":
        raise UsageError("--exclude auto and --keep-float none contradict each other")
    states = tuple(targets)
    if all(state.precision == FLOAT for state in states):
        raise UsageError(
            f"--exclude has no meaning for {', '.join(map(str, states))}: nothing is quantized",
            hint="It names layers that a quantizer is to leave in float.",
        )
    out = {
        edge.name: "cannot keep chosen layers in float, as --exclude asks"
        for edge in converters
        if edge.source.precision == FLOAT != edge.target.precision and not edge.takes_recipe
    }
    return replace(wishes, unfit={**wishes.unfit, **out})


def _by_pattern(layers: Sequence[LayerInfo], pattern: str) -> QuantRule:
    matches = matcher(pattern)
    names = tuple(layer.name for layer in layers if any(map(matches, addresses(layer))))
    if not names:
        known = dict.fromkeys(a for layer in layers for a in reversed(addresses(layer)))
        parts = _joined(pattern, known)
        if parts:
            raise UsageError(
                f"--exclude {pattern!r} matches no layer",
                hint=f"This is {_NUMBERS.get(len(parts), len(parts))} names run together (a comma"
                f" is missing): {', '.join(map(repr, parts))}.",
            )
        plain = pattern.removeprefix(REGULAR).translate({ord(c): None for c in "*?[]^$\\"})
        near = did_you_mean(plain, known, likeness=_LIKENESS)
        raise UsageError(
            f"--exclude {pattern!r} matches no layer",
            hint=f"{near} `convkit inspect --json` lists the layers.".lstrip(),
        )
    return QuantRule(names, f"asked for by --exclude {pattern}")


def _joined(pattern: str, known: Collection[str]) -> tuple[str, ...]:
    """The fewest known names that make up the pattern, put one after the other; empty where they
    do not."""
    names = set(filter(None, known))
    lengths = sorted(set(map(len, names)))
    made: list[tuple[str, ...] | None] = [(), *[None] * len(pattern)]
    for end in range(1, len(pattern) + 1):
        ways = [
            (*before, pattern[end - length : end])
            for length in lengths
            if length <= end and pattern[end - length : end] in names
            if (before := made[end - length]) is not None
        ]
        made[end] = min(ways, key=len, default=None)
    return made[-1] or ()


def _by_type(layers: Sequence[LayerInfo], name: str) -> QuantRule:
    names = tuple(layer.name for layer in layers if layer.op_type.lower() == name.lower())
    if not names:
        kinds = dict.fromkeys(layer.op_type for layer in layers)
        near = did_you_mean(name, kinds, likeness=_LIKENESS)
        raise UsageError(
            f"--exclude-op {name!r} matches no operator",
            hint=near or f"The model has {', '.join(sorted(kinds))}.",
        )
    return QuantRule(names, f"asked for by --exclude-op {name}")


def addresses(layer: LayerInfo) -> tuple[str, ...]:
    """What a layer can be called by."""
    leaf = layer.name.rpartition("/")[2]
    return (layer.name, layer.scope, f"{layer.scope}.{leaf}") if layer.scope else (layer.name,)


def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a pattern of `--exclude` matches an address.

    Raises:
        UsageError: it is no regular expression.
    """
    if pattern.startswith(REGULAR):
        try:
            expression = re.compile(pattern.removeprefix(REGULAR))
        except re.error as exc:
            raise UsageError(f"--exclude {pattern!r} is no regular expression: {exc}") from exc
        return lambda text: expression.search(text) is not None
    if any(sign in pattern for sign in WILD):
        return lambda text: fnmatchcase(text, pattern)
    return lambda text: text == pattern or text.startswith(pattern + ".")
