"""Which operators an accelerator would take, and in how many parts, by its published rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from convkit.delegates import (
    DelegatedLayer,
    DelegateMap,
    DelegateRules,
    Operation,
    OperatorRule,
    Reason,
)
from convkit.engine.delegate_conditions import activations, holds, reason_of


def judge(
    title: str,
    operations: Sequence[Operation],
    rules: DelegateRules,
    outputs: Iterable[str] = (),
) -> DelegateMap:
    """The verdict of the rules on operators in the order of execution.

    Args:
        outputs: names of the model's outputs where a tensor of that name is read by nobody.
    """
    verdicts = [_Verdict.of(op, rules) for op in operations]
    whole = _Graph(operations)
    fold = rules.folds_constants
    free = {n for n, op in enumerate(operations) if fold and op.folded}
    taken = {n for n, v in enumerate(verdicts) if v.reason == "mapped" and n not in free}
    parts = _kept(whole.parts(taken, free), rules)
    home = {n: number for number, part in enumerate(parts) for n in part}
    ends = whole.ends(frozenset(outputs))
    obstacles = whole.obstacles({n for n, v in enumerate(verdicts) if v.reason != "mapped"} - free)
    layers = []
    for number, (op, verdict) in enumerate(zip(operations, verdicts, strict=True)):
        part = home.get(number)
        if number in free:  # expanded weights go wherever they are used
            users = {home.get(user) for user in whole.consumers[number] if user not in free}
            part = users.pop() if len(users) == 1 else None
            reason: Reason = "mapped" if part is not None else "limit"
            status, remedy = rules.statuses[reason], ""
        elif part is not None:
            reason, status, remedy = "mapped", rules.statuses["mapped"], ""
        elif verdict.reason == "mapped":
            reason = "subgraph"
            own = verdict.rule.stranded if verdict.rule and number in ends else ""
            status = own or rules.statuses["subgraph"]
            remedy = _waiting(operations, obstacles[number]) or rules.remedies.get("subgraph", "")
        else:
            reason, status, remedy = verdict.reason, verdict.status, verdict.remedy
        layers.append(
            DelegatedLayer(
                layer=op.layer,
                op_type=op.op_type,
                status=status,
                mapped=reason == "mapped",
                scope=op.scope,
                subgraph=part,
                remedy=remedy,
                reason=reason,
                macs=op.macs,
            )
        )
    total = sum(op.macs for op in operations)
    mapped = sum(layer.macs for layer in layers if layer.mapped)
    return DelegateMap(
        model=title,
        delegate=rules.title,
        source=rules.source,
        version=rules.version,
        retrieved=rules.retrieved,
        layers=tuple(layers),
        subgraphs=len(parts),
        mapped_macs=mapped / total if total else None,
        notes=(*rules.notes, *_notes(operations, rules)),
    )


@dataclass(frozen=True)
class _Verdict:
    """What the rules say about one operator by itself.

    Attributes:
        rule: the terms that it meets, or those that it comes closest to.
    """

    reason: Reason
    status: str
    remedy: str
    rule: OperatorRule | None = None

    @classmethod
    def of(cls, op: Operation, rules: DelegateRules) -> _Verdict:
        """The order of checks is that of the delegates: types before operators."""
        terms = rules.operators.get(op.op_type, ())
        general = _general_fault(op, rules, terms)
        if general is not None:
            return cls(general, rules.statuses[general], _remedy(op, rules, general))
        best: tuple[int, _Verdict] | None = None
        for rule in terms:
            passed, reason = _try(op, rule, rules)
            status = rule.status if reason != "mapped" and rule.status else rules.statuses[reason]
            own = rule.remedy if passed else ""  # it is about the rule's own terms, not about types
            remedy = "" if reason == "mapped" else own or _remedy(op, rules, reason)
            verdict = cls(reason, status, remedy, rule)
            if reason == "mapped":
                return verdict
            if best is None or passed > best[0]:
                best = (passed, verdict)
        assert best is not None  # an operator without terms has been dealt with
        return best[1]


def _general_fault(
    op: Operation, rules: DelegateRules, terms: Sequence[OperatorRule]
) -> Reason | None:
    """What holds for all operators of the delegate."""
    tensors = activations(op)
    if not rules.dynamic_shapes and any(None in tensor.shape for tensor in tensors):
        return "dynamic"
    if not terms:
        # an operator in no rule is told by its own name, unless types are looked at first
        return "dtype" if rules.dtype_of == "output" and not _fits(op, rules, ()) else "operator"
    limit = rules.innermost
    if limit and any(size != 1 for tensor in tensors for size in tensor.shape[:-limit]):
        return "rank"
    return None


def _fits(op: Operation, rules: DelegateRules, dtypes: Sequence[str]) -> bool:
    """Whether an operator computes in dtypes that are taken."""
    allowed = dtypes or rules.dtypes
    checked = op.outputs[:1] if rules.dtype_of == "output" else activations(op)
    return not allowed or all(tensor.dtype in allowed for tensor in checked)


def _try(op: Operation, rule: OperatorRule, rules: DelegateRules) -> tuple[int, Reason]:
    """How many checks an operator passes, and what the first says that it does not."""
    passed = 1
    by_side = {"input_dtypes", "output_dtypes"} & set(rule.conditions)
    if (rule.dtypes or not by_side) and not _fits(op, rules, rule.dtypes):
        return 0, "dtype"
    if rule.max_version is not None and op.version > rule.max_version:
        return passed, "version"
    for name, value in rule.conditions.items():
        if not holds(op, name, value):
            return passed, reason_of(name)
        passed += 1
    return passed, "mapped"


def _remedy(op: Operation, rules: DelegateRules, reason: Reason) -> str:
    own = rules.remedies.get(op.op_type, "")
    if reason == "operator":
        return own or rules.remedies.get("*", "")
    if reason == "dtype":
        seen = " and ".join(sorted({tensor.dtype for tensor in activations(op)}))
        return own or f"It computes in {seen}; the delegate takes {', '.join(rules.dtypes)}."
    if reason == "dynamic":
        return "Fix the sizes of the model's inputs (--shape) before converting."
    if reason == "rank":
        limit = f"{rules.innermost} innermost axes" if rules.innermost else "fewer axes"
        return own or f"Reshape so that only the {limit} are greater than 1 (a batch of 1)."
    return own


def _waiting(operations: Sequence[Operation], obstacle: int | None) -> str:
    """In words: what an operator waits for that would be taken otherwise."""
    if obstacle is None:
        return ""
    op = operations[obstacle]
    return f"It follows {op.op_type} {op.layer}, which is not taken; see there."


def _kept(parts: list[list[int]], rules: DelegateRules) -> list[list[int]]:
    """The parts that the delegate takes, in the order of execution."""
    parts = [part for part in parts if len(part) >= rules.min_operators]
    if not rules.max_subgraphs or len(parts) <= rules.max_subgraphs:
        return parts
    if rules.keep == "first":
        return parts[: rules.max_subgraphs]
    largest = sorted(range(len(parts)), key=lambda n: -len(parts[n]))[: rules.max_subgraphs]
    return [parts[n] for n in sorted(largest)]


def _notes(operations: Sequence[Operation], rules: DelegateRules) -> Iterable[str]:
    """Limits that cannot be checked, of the rules that the model's operators meet."""
    kinds = dict.fromkeys(op.op_type for op in operations)
    for kind in kinds:
        for note in dict.fromkeys(r.note for r in rules.operators.get(kind, ()) if r.note):
            yield f"{kind}: {note}"


class _Graph:
    """Who reads whose results."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        made: dict[str, int] = {}
        self._operations = operations
        self.producers: list[frozenset[int]] = []
        self.consumers: list[set[int]] = [set() for _ in operations]
        for number, op in enumerate(operations):
            sources = {made[x.name] for x in op.inputs if x is not None and x.name in made}
            self.producers.append(frozenset(sources))
            for source in sources:
                self.consumers[source].add(number)
            made.update((x.name, number) for x in op.outputs)

    def obstacles(self, refused: set[int]) -> list[int | None]:
        """For each operator the first refused one that it depends on."""
        found: list[int | None] = []
        for producers in self.producers:  # operators come behind what they depend on
            own = [p if p in refused else found[p] for p in producers]
            found.append(min((n for n in own if n is not None), default=None))
        return found

    def ends(self, outputs: frozenset[str]) -> set[int]:
        """Operators whose result leaves the model."""
        return {
            number
            for number, op in enumerate(self._operations)
            if not self.consumers[number] or outputs & {x.name for x in op.outputs}
        }

    def parts(self, taken: set[int], free: set[int]) -> list[list[int]]:
        """Divide the operators that are taken into parts that can run by themselves, as TFLite's
        interpreter does: by turns all operators that are ready and are taken, then all that are
        ready and are not, and so on.

        Args:
            free: operators that depend on nothing and divide nothing.
        """
        done = set(free)
        left = [n for n in range(len(self._operations)) if n not in done]
        parts: list[list[int]] = []
        while left:
            first = next(n for n in left if self.producers[n] <= done)
            wanted = first in taken
            part, rest = [], []
            for number in left:  # in the order of execution: one pass finds all
                if (number in taken) == wanted and self.producers[number] <= done:
                    done.add(number)
                    part.append(number)
                else:
                    rest.append(number)
            left = rest
            if wanted:
                parts.append(part)
        return parts
