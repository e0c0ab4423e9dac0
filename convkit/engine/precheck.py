"""Operators that an edge cannot convert, found before it is tried."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from convkit.artifact import Artifact
from convkit.codec import decode, encode
from convkit.engine.digest import digest_key
from convkit.engine.layout import plain
from convkit.engine.planner import Banned, Beginning, beginning
from convkit.engine.session import Session, Stage
from convkit.errors import ConvkitError
from convkit.plans import OptionValue, Plan
from convkit.plugin.edges import Converter, ConverterBase, Obstacle

NAMED = 3
"""So many layers are named with an obstacle; the rest are counted."""


def obstacles(
    session: Session,
    converter: Converter,
    artifact: Artifact,
    options: Mapping[str, OptionValue],
    stage: Stage | None = None,
) -> tuple[Obstacle, ...]:
    """What the edge cannot convert in an artifact. The answer is stored; a check that fails itself
    finds nothing, since the conversion that follows will tell."""
    if getattr(type(converter), "check", None) in (None, ConverterBase.check):
        return ()
    key = digest_key(
        {
            "kind": "check",
            "implementation": session.implementation_key(
                "converters", converter.name, converter.requirements
            ),
            "lock": converter.isolated.lock if converter.isolated else "",
            "artifact": [artifact.digest, encode(artifact.traits), encode(artifact.read)],
            "options": encode(options),
        }
    )
    document = session.store.read(key)
    if document is None:
        arguments = {"artifact": encode(plain(artifact)), "options": dict(options)}
        try:
            document = session.ask(
                "check",
                "converters",
                converter.name,
                arguments,
                stage=stage,
                isolated=converter.isolated,
            )
        except ConvkitError as error:
            session.notice(f"{converter.name} could not be checked: {error.message}", "debug")
            return ()
        session.store.remember(key, document)
    found: tuple[Obstacle, ...] = decode(tuple[Obstacle, ...], document)
    return found


def screened(
    session: Session,
    make: Callable[[Banned], Plan],
    source: Artifact,
    banned: Banned | None = None,
    *,
    every: bool = False,
) -> Plan:
    """A plan whose best path begins with an edge that knows nothing against the original.

    Args:
        make: plans without what is banned.
        every: the same of every path that is listed, as far as it can be known without building
            an environment.
    """
    banned = banned or Banned()
    edges = dict(banned.edges)
    passed: set[Beginning] = set()
    while True:
        plan = make(Banned(edges, banned.beginnings))
        firsts = [path.steps[0] for path in plan.paths[: len(plan.paths) if every else 1]]
        fresh = [step for step in firsts if beginning([step]) not in passed]
        if not fresh:
            return plan
        for step in fresh:
            passed.add(beginning([step]))
            converter = session.registry.converters[step.converter]
            if every and not session.workers.ready(converter.isolated):
                continue
            found = obstacles(session, converter, source, step.options)
            if found:
                edges[converter.name] = _evidence(found)


def in_words(found: Sequence[Obstacle]) -> str:
    """One sentence: what, and in which layers."""
    return "cannot convert " + "; ".join(map(_one, found))


def remedy(found: Sequence[Obstacle]) -> str:
    """What the user could do about them."""
    return " ".join(dict.fromkeys(o.remedy for o in found if o.remedy))


def _evidence(found: Sequence[Obstacle]) -> str:
    return ". ".join(filter(None, (in_words(found), remedy(found))))


def _one(obstacle: Obstacle) -> str:
    named = ", ".join(obstacle.layers[:NAMED])
    more = len(obstacle.layers) - NAMED
    where = f" in {named}" if named else ""
    return obstacle.what + where + (f" and {more} more" if more > 0 else "")
