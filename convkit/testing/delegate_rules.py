"""The contract of a file of delegate rules."""

from __future__ import annotations

import datetime
from collections.abc import Collection
from pathlib import Path

import pytest

from convkit.delegates import DelegateRules, Operand, Operation, OperatorRule
from convkit.engine.delegate_conditions import holds
from convkit.engine.delegation import judge
from convkit.plugin.delegate_rules import read_rules

NOWHERE = "CUSTOM:NoDelegateTakesThis"


class DelegateRulesContract:
    """Inherit, and override the fixture `file`; best `operators`, too."""

    @pytest.fixture
    def file(self) -> Path:
        """The TOML file, as the plugin's hook names it."""
        raise NotImplementedError("override the fixture `file`")

    @pytest.fixture
    def operators(self) -> Collection[str]:
        """All operators of the format; none where they cannot be listed."""
        return ()

    @pytest.fixture
    def rules(self, file: Path) -> DelegateRules:
        """The rules in the file; reading checks conditions, statuses and the types of values."""
        return read_rules(file)

    def test_others_can_look_it_up(self, rules: DelegateRules) -> None:
        """Rules are somebody's published word: where, which version, and read when."""
        assert rules.source.startswith(("https://", "http://")), f"source {rules.source!r}"
        assert any(c.isdigit() for c in rules.version), f"version {rules.version!r} has no number"
        read = datetime.date.fromisoformat(rules.retrieved)
        assert read <= datetime.date.today(), f"read in the future, on {rules.retrieved}"

    def test_statuses_tell_what_is_taken(self, rules: DelegateRules) -> None:
        """No wording for what is left out is the wording for what is taken."""
        mapped = rules.statuses["mapped"]
        others = {reason: text for reason, text in rules.statuses.items() if reason != "mapped"}
        alike = [reason for reason, text in others.items() if text == mapped]
        assert not alike, f"the status {', '.join(alike)} reads as taken: {mapped!r}"
        own = {r.status for terms in rules.operators.values() for r in terms}
        assert mapped not in own, "a rule that is not met reads as taken"

    def test_operators_exist(self, rules: DelegateRules, operators: Collection[str]) -> None:
        """A misspelt operator would be refused for ever."""
        if not operators:
            pytest.skip("the format's operators are not known")
        named = {*rules.operators, *rules.remedies} - {"*", "subgraph"}
        assert named <= set(operators), f"no operators: {sorted(named - set(operators))}"

    def test_a_stranger_is_refused_with_a_remedy(self, rules: DelegateRules) -> None:
        """An operator that no rule speaks of is left out, and the user is told what to do."""
        layer = judge("model", (_operation(NOWHERE, rules),), rules).layers[0]
        assert not layer.mapped and layer.status != rules.statuses["mapped"]
        assert layer.remedy.strip(), "there is no remedy for operators that no rule speaks of (`*`)"

    def test_every_rule_can_be_met(self, rules: DelegateRules) -> None:
        """Terms that contradict each other take nothing at all."""
        for operator, terms in rules.operators.items():
            for number, rule in enumerate(terms):
                counts = _counts(rule)
                assert counts, f"{operator}, rule {number + 1}: no number of operands will do"
                dtypes = set(rule.dtypes or rules.dtypes)
                stated = str(rule.conditions.get("input_dtypes", "")).split()
                if rule.dtypes and stated:
                    assert dtypes & set(stated), f"{operator}, rule {number + 1}: no dtype will do"


def _counts(rule: OperatorRule) -> list[int]:
    """Numbers of operands that a rule takes."""
    found = []
    for count in range(65):
        operand = Operand("x", (1,), "float32")
        op = Operation("layer", "OP", (operand,) * count, (operand,))
        checks = ("inputs", "runtime_inputs", "bias")
        if all(holds(op, c, rule.conditions[c]) for c in checks if c in rule.conditions):
            found.append(count)
    return found


def _operation(op_type: str, rules: DelegateRules) -> Operation:
    """An operator that there is nothing against, but for its type."""
    tensor = Operand("x", (1, 4, 4, 8), rules.dtypes[0] if rules.dtypes else "float32", scale=1.0)
    result = Operand("y", (1, 4, 4, 8), tensor.dtype, scale=1.0)
    return Operation("layer", op_type, (tensor,), (result,))
