"""Options that the user gives as text: checked against what the converters declare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from convkit.engine.traits import allows
from convkit.errors import UsageError
from convkit.plans import OptionValue
from convkit.plugin.edges import Option
from convkit.plugin.registry import Registry


def resolve_options(
    given: Mapping[str, OptionValue], registry: Registry
) -> tuple[dict[tuple[str, str], OptionValue], dict[str, str]]:
    """Turn `{"torch.onnx-legacy.opset": "13"}` or `{"opset": 13}` into typed values by edge.

    A bare option name holds for every converter that has such an option; one that cannot take the
    value cannot serve the wish.

    Returns:
        `(converter, option)` to value, and the converters that are out with the reason.

    Raises:
        UsageError: unknown converter or option, or a value of the wrong kind or out of bounds.
    """
    chosen: dict[tuple[str, str], OptionValue] = {}
    unfit: dict[str, str] = {}
    for key, raw in given.items():
        owner, _, name = key.rpartition(".")
        edges = [registry.converter(owner)] if owner else list(registry.converters.values())
        matches = [(e, o) for e in edges for o in e.options if o.name == name]
        if not matches:
            known = sorted({o.name for e in edges for o in e.options})
            raise UsageError(
                f"{owner or 'no converter'} has {'no' if owner else 'an'} option {name!r}",
                hint=f"Options: {', '.join(known) or 'none'}.",
            )
        fitting = [(e, o, v) for e, o in matches for v in _parse(o, raw)]
        if not fitting:
            raise UsageError(f"{key}={raw} is not possible", hint=_explain(o for _, o in matches))
        chosen.update({(e.name, o.name): v for e, o, v in fitting})
        for edge, option in matches:
            if (edge.name, option.name) not in chosen:
                unfit[edge.name] = f"cannot have {key}={raw}: {_explain([option])[:-1]}"
    return chosen, unfit


def _parse(option: Option, raw: OptionValue) -> list[OptionValue]:
    """The value in the option's type, as a list of one; empty where it does not fit."""
    value: OptionValue
    try:
        if isinstance(option.default, bool):
            words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
            value = raw if isinstance(raw, bool) else words[str(raw).lower()]
        elif isinstance(option.default, str) and option.choices:
            # `QDQ` for `qdq`: tools differ in how they spell their own words
            alike = (c for c in option.choices if str(c).lower() == str(raw).lower())
            value = raw if raw in option.choices else next(alike, str(raw))
        else:
            value = type(option.default)(raw)
    except (KeyError, ValueError):
        return []
    return [value] if allows(option, value) else []


def _explain(options: Iterable[Option]) -> str:
    parts = []
    for option in options:
        if option.choices:
            parts.append(f"{option.name} is one of {', '.join(map(str, option.choices))}")
        elif option.minimum is not None or option.maximum is not None:
            parts.append(f"{option.name} lies between {option.minimum} and {option.maximum}")
        else:
            parts.append(f"{option.name} is a {type(option.default).__name__}")
    return "; ".join(dict.fromkeys(parts)) + "."
