"""A model of a session under the rules of accelerators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from convkit.codec import decode, encode
from convkit.delegates import DelegateMap, DelegateRules, Operation
from convkit.engine.delegation import judge
from convkit.engine.session import Found, Session
from convkit.errors import UsageError, did_you_mean
from convkit.plugin.reading import OperationReader

ALL = "all"
"""In the place of a delegate's name: every one that has rules for the format."""


def rules_for(session: Session, format_id: str, names: Sequence[str] = ()) -> list[DelegateRules]:
    """The rules of the delegates of these names; of all for the format where there are none.

    Raises:
        UsageError: a format without rules, an unknown name, or rules for another format.
    """
    every = session.registry.delegate_rules
    fitting = {name: rules for name, rules in every.items() if rules.format == format_id}
    if not fitting:
        formats = ", ".join(sorted({rules.format for rules in every.values()}))
        raise UsageError(
            f"no installed plugin has rules of accelerators for {format_id} files",
            hint=f"There are some for {formats}: convert the model first."
            if formats
            else "`convkit plugins` shows what is installed and what is broken.",
        )
    wanted = [name for name in dict.fromkeys(names) if name != ALL]
    for name in wanted:
        if name not in fitting:
            near = did_you_mean(name, sorted(fitting))
            raise UsageError(
                f"there are no rules of a delegate called {name!r} for {format_id} files",
                hint=f"{near} Known: {', '.join(sorted(fitting))}.".strip(),
            )
    if not wanted or ALL in names:
        return list(fitting.values())
    return [fitting[name] for name in wanted]


def delegate_maps(
    session: Session, title: str, found: Found, names: Sequence[str] = ()
) -> tuple[DelegateMap, ...]:
    """A model under the rules of several delegates; its file is read once.

    Raises:
        UsageError: see `rules_for` and `delegate_map`.
    """
    chosen = rules_for(session, found.state.format, names)
    operations = _operations(session, found)
    return tuple(_judge_found(title, operations, found, rules) for rules in chosen)


def delegate_map(session: Session, title: str, found: Found, rules: DelegateRules) -> DelegateMap:
    """A model under a delegate's rules.

    Raises:
        UsageError: the format's inspector cannot tell enough about operators.
    """
    return _judge_found(title, _operations(session, found), found, rules)


def _judge_found(
    title: str, operations: Sequence[Operation], found: Found, rules: DelegateRules
) -> DelegateMap:
    outputs = {spec.name for spec in found.inspection.outputs}
    map_ = judge(title, operations, rules, outputs)
    if any(not isinstance(size, int) for spec in found.artifact.inputs for size in spec.shape):
        note = "Axes of the inputs that the file leaves open count as the file stores them, as 1."
        map_ = replace(map_, notes=(*map_.notes, note))
    return map_


def _operations(session: Session, found: Found) -> tuple[Operation, ...]:
    artifact = found.artifact
    inspector = session.registry.inspector(artifact.state.format)
    if not isinstance(inspector, OperationReader):
        raise UsageError(
            f"{inspector.name} cannot tell what the rules of accelerators ask about operators",
            hint="Its plugin needs `operations`, see convkit.plugin.OperationReader.",
        )
    arguments = {"path": str(artifact.path), "read": encode(artifact.read)}
    answer = session.ask("operations", "inspectors", inspector.name, arguments)
    operations: tuple[Operation, ...] = decode(tuple[Operation, ...], answer)
    return operations
