"""Binding options backwards: what a later edge requires of traits decides the edges before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from convkit.artifact import PARAMETER_BYTES, State, Trait
from convkit.plans import OptionValue, Step
from convkit.plugin.edges import Converter, Option, TraitProvision, TraitRequirement


class Infeasible(Exception):
    """The sequence of edges cannot be bound; carries the guilty edge, reason and remedy."""

    def __init__(self, subject: str, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.subject, self.reason, self.remedy = subject, reason, remedy


@dataclass(frozen=True)
class Wish:
    """A requirement and the edge that makes it."""

    requirement: TraitRequirement
    edge: str


@dataclass
class _Bound:
    """An edge with the options decided so far."""

    edge: Converter
    options: dict[str, OptionValue]
    bound: list[str] = field(default_factory=list)


def satisfies(value: OptionValue, requirement: TraitRequirement) -> bool:
    """Whether a trait's value meets a requirement."""
    if requirement.one_of and value not in requirement.one_of:
        return False
    if requirement.minimum is not None and int(value) < requirement.minimum:
        return False
    return not (requirement.maximum is not None and int(value) > requirement.maximum)


def describe(requirement: TraitRequirement) -> str:
    """A requirement in words: `opset at most 12`."""
    parts = []
    if requirement.one_of:
        parts.append(" or ".join(str(v) for v in requirement.one_of))
    if requirement.minimum is not None:
        parts.append(f"at least {requirement.minimum}")
    if requirement.maximum is not None:
        parts.append(f"at most {requirement.maximum}")
    return f"{requirement.trait} {' and '.join(parts)}"


def bind(
    edges: Sequence[Converter],
    traits: Mapping[str, Trait],
    preparations: Sequence[Converter],
    chosen: Mapping[tuple[str, str], OptionValue],
    wished: Sequence[TraitRequirement] = (),
) -> tuple[Step, ...]:
    """Walk the edges backwards, set options so that every requirement is met, and insert the
    preparations (same-state edges) that meet what no edge provides.

    Args:
        traits: those of the source artifact; an absent one is unknown.
        preparations: all same-state edges that may be used.
        chosen: `(converter, option)` to a value that the user insists on.
        wished: what the user wants of the source before anything else; met where a preparation
            can, else left to the edges.

    Raises:
        Infeasible: naming the edge whose requirement cannot be met.
    """
    result: list[_Bound] = []
    wishes: list[Wish] = []
    for edge in reversed(edges):
        current = _Bound(edge, _defaults(edge, chosen))
        wishes, inserted = _settle(current, wishes, preparations, chosen)
        result = [current, *inserted, *result]
        wishes = [w for w in wishes if _survives(w, edge)]
        wishes = [*wishes, *(Wish(r, edge.name) for r in edge.requires)]
    state = edges[0].source
    first = _prepare(wished, traits, preparations, chosen, state)
    ready = {
        **traits,
        **{p.trait: p.value for b in first for p in b.edge.provides if p.value is not None},
    }
    rest = _settle_source(wishes, ready, preparations, chosen, state)
    result = [*first, *rest, *result]
    return tuple(
        Step(
            converter=item.edge.name,
            source=item.edge.source,
            target=item.edge.target,
            options=item.options,
            bound=tuple(item.bound),
            environment=item.edge.isolated.name if item.edge.isolated else "",
        )
        for item in result
    )


def _survives(wish: Wish, edge: Converter) -> bool:
    """Whether a wish of a later edge concerns what comes before this one, too. A change of format
    settles all but the size; a change of precision settles the size."""
    if wish.requirement.trait == PARAMETER_BYTES:
        return edge.source.precision == edge.target.precision
    return edge.source.format == edge.target.format


def _settle(
    current: _Bound,
    wishes: list[Wish],
    preparations: Sequence[Converter],
    chosen: Mapping[tuple[str, str], OptionValue],
) -> tuple[list[Wish], list[_Bound]]:
    """Meet wishes by `current` or by preparations behind it; return the open ones."""
    open_wishes: list[Wish] = []
    inserted: list[_Bound] = []
    for wish in wishes:
        provision = _provision(current.edge, wish.requirement.trait)
        if provision is not None and _meet(current, provision, wish, chosen):
            continue
        helper = _preparation(wish, current.edge.target, preparations)
        if helper is not None:
            inserted.append(_Bound(helper, _defaults(helper, chosen)))
        elif provision is not None:
            raise Infeasible(
                wish.edge,
                f"requires {describe(wish.requirement)}, which {current.edge.name} "
                f"cannot give{_why(current, provision, chosen)}",
            )
        else:
            open_wishes.append(wish)
    return open_wishes, inserted


def _prepare(
    wished: Sequence[TraitRequirement],
    traits: Mapping[str, Trait],
    preparations: Sequence[Converter],
    chosen: Mapping[tuple[str, str], OptionValue],
    state: State,
) -> list[_Bound]:
    """The preparations of the source that the user's wishes call for."""
    found = []
    for requirement in wished:
        value = traits.get(requirement.trait)
        if value is None or satisfies(value, requirement):
            continue
        helper = _preparation(Wish(requirement, ""), state, preparations)
        if helper is not None:
            found.append(_Bound(helper, _defaults(helper, chosen)))
    return found


def _settle_source(
    wishes: list[Wish],
    traits: Mapping[str, Trait],
    preparations: Sequence[Converter],
    chosen: Mapping[tuple[str, str], OptionValue],
    state: State,
) -> list[_Bound]:
    inserted: list[_Bound] = []
    for wish in wishes:
        name = wish.requirement.trait
        if name in traits and satisfies(traits[name], wish.requirement):
            continue
        helper = _preparation(wish, state, preparations)
        if helper is not None and _startable(helper, traits, name):
            if all(item.edge is not helper for item in inserted):
                inserted.append(_Bound(helper, _defaults(helper, chosen)))
        elif name in traits and not wish.requirement.soft:
            raise _unmet(wish, traits[name])
    return inserted


def _unmet(wish: Wish, value: Trait) -> Infeasible:
    need = describe(wish.requirement)
    if wish.requirement.trait == PARAMETER_BYTES:
        return Infeasible(
            wish.edge,
            f"its container holds {int(wish.requirement.maximum or 0) / 1e9:.2f} GB at most; "
            f"the parameters of this model take {int(value) / 1e9:.2f} GB",
            "another road, or a smaller precision before it",
        )
    reason = f"requires {need}; this model has {wish.requirement.trait} {value}"
    return Infeasible(wish.edge, reason, f"give a model with {need}")


def _startable(helper: Converter, traits: Mapping[str, Trait], wished: str) -> bool:
    """Whether a preparation fits the source; an unknown trait is enough, unless the preparation
    turns that very trait from one value into another."""
    for requirement in helper.requires:
        if requirement.trait in traits:
            if not satisfies(traits[requirement.trait], requirement):
                return False
        elif requirement.trait == wished:
            return False
    return True


def _preparation(wish: Wish, state: State, preparations: Sequence[Converter]) -> Converter | None:
    for helper in preparations:
        provision = _provision(helper, wish.requirement.trait)
        if (
            helper.source == state
            and provision is not None
            and provision.value is not None
            and satisfies(provision.value, wish.requirement)
        ):
            return helper
    return None


def _provision(edge: Converter, trait: str) -> TraitProvision | None:
    return next((p for p in edge.provides if p.trait == trait), None)


def _meet(
    current: _Bound,
    provision: TraitProvision,
    wish: Wish,
    chosen: Mapping[tuple[str, str], OptionValue],
) -> bool:
    if provision.value is not None:
        return satisfies(provision.value, wish.requirement)
    option = next(o for o in current.edge.options if o.name == provision.option)
    if satisfies(current.options[option.name], wish.requirement):
        return True
    if (current.edge.name, option.name) in chosen:
        return False
    for value in _candidates(option, wish.requirement):
        if satisfies(value, wish.requirement) and allows(option, value):
            current.options[option.name] = value
            current.bound.append(option.name)
            return True
    return False


def _candidates(option: Option, requirement: TraitRequirement) -> list[OptionValue]:
    """Values to try: the bound nearest to the default first, then what is named outright."""
    bounds = [b for b in (requirement.maximum, requirement.minimum) if b is not None]
    return [*bounds, *requirement.one_of, *option.choices]


def allows(option: Option, value: OptionValue) -> bool:
    """Whether an option may have a value."""
    if option.choices and value not in option.choices:
        return False
    if isinstance(value, str | bool):
        return True
    if option.minimum is not None and value < option.minimum:
        return False
    return not (option.maximum is not None and value > option.maximum)


def _why(
    current: _Bound, provision: TraitProvision, chosen: Mapping[tuple[str, str], OptionValue]
) -> str:
    if provision.value is not None:
        return f" (it always gives {provision.value})"
    if (current.edge.name, provision.option) in chosen:
        return f" with {provision.option}={current.options[provision.option]} as you asked"
    option = next(o for o in current.edge.options if o.name == provision.option)
    if option.minimum is not None or option.maximum is not None:
        return f" (it can give {option.minimum:g} to {option.maximum:g})"
    return ""


def _defaults(
    edge: Converter, chosen: Mapping[tuple[str, str], OptionValue]
) -> dict[str, OptionValue]:
    return {o.name: chosen.get((edge.name, o.name), o.default) for o in edge.options}
