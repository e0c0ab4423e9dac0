"""Operators under rules: statuses, parts, remedies."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from convkit.delegates import REASONS, DelegateRules, Operand, Operation, OperatorRule
from convkit.engine.delegation import judge

STATUSES: dict[str, str] = {reason: f"status {reason}" for reason in REASONS}
RULES = DelegateRules(
    name="abacus",
    title="Abacus",
    format="toy",
    source="https://abacus.example",
    version="1",
    retrieved="2026-11-01",
    operators={"GOOD": (OperatorRule(),)},
    statuses=STATUSES,
    remedies={"*": "do without"},
    dtypes=("int8", "uint8"),
)


def operand(name: str, *shape: int | None, dtype: str = "int8", **more: Any) -> Operand:
    return Operand(name, shape or (1, 8), dtype, **more)


def op(name: str, kind: str, *sources: str | Operand, **more: Any) -> Operation:
    """An operator that writes the tensor of its own name."""
    out = more.pop("out", operand(name))
    inputs = tuple(operand(s) if isinstance(s, str) else s for s in sources)
    return Operation(name, kind, inputs, (out,), **more)


def chain(kinds: str) -> list[Operation]:
    """`GBG`: good, bad, good, each on the result of the one before."""
    names = {"G": "GOOD", "B": "BAD"}
    return [op(f"t{n}", names[k], f"t{n - 1}") for n, k in enumerate(kinds, 1)]


def statuses(operations: Iterable[Operation], rules: DelegateRules = RULES) -> list[str]:
    return [layer.reason for layer in judge("m", list(operations), rules).layers]


@pytest.mark.parametrize(
    ("limit", "keep", "mapped", "parts"),
    [
        (0, "largest", "GG.GGG.G", 3),
        (1, "first", "GG......", 1),
        (1, "largest", "...GGG..", 1),
        (2, "largest", "GG.GGG..", 2),
    ],
)
def test_parts(limit: int, keep: Any, mapped: str, parts: int) -> None:
    rules = replace(RULES, max_subgraphs=limit, keep=keep)
    found = judge("m", chain("GGBGGGBG"), rules)
    assert "".join("G" if layer.mapped else "." for layer in found.layers) == mapped
    assert found.subgraphs == parts
    left = [x for x in found.layers if x.op_type == "GOOD" and not x.mapped]
    assert all(x.status == "status subgraph" and x.subgraph is None for x in left)
    numbers = {x.subgraph for x in found.layers if x.mapped}
    assert numbers == set(range(parts))


def test_branches_around_a_refused_operator_stay_one_part() -> None:
    """What does not depend on the refused operator runs before it."""
    graph = [
        op("a", "GOOD", "in"),
        op("b", "BAD", "a"),
        op("c", "GOOD", "a"),
        op("d", "GOOD", "c"),
        op("e", "GOOD", "b", "d"),
    ]
    found = judge("m", graph, RULES)
    assert [x.subgraph for x in found.layers] == [0, None, 0, 0, 1]


def test_a_refused_operator_in_front_does_not_end_the_first_part() -> None:
    found = judge("m", chain("BGG"), replace(RULES, max_subgraphs=1, keep="first"))
    assert [x.mapped for x in found.layers] == [False, True, True]


def test_small_parts_are_left() -> None:
    rules = replace(RULES, min_operators=2)
    assert statuses(chain("GBGG"), rules) == ["subgraph", "operator", "mapped", "mapped"]


def test_what_is_left_behind_says_what_it_waits_for() -> None:
    found = judge("m", chain("GBGG"), replace(RULES, max_subgraphs=1, keep="first"))
    assert found.layers[1].remedy == "do without"
    assert all("BAD t2" in layer.remedy for layer in found.layers[2:])


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (op("y", "BAD", "x"), "operator"),
        (op("y", "GOOD", operand("x", dtype="float32")), "dtype"),
        (op("y", "GOOD", operand("x", 1, None)), "dynamic"),
        (op("y", "V2", "x", version=3), "version"),
        (op("y", "V2", "x", version=2), "mapped"),
        (op("y", "FLAT", operand("x", 2, 3, 4)), "rank"),
        (op("y", "PLAIN", "x", attributes={"fused_activation_function": "RELU"}), "limit"),
        (op("y", "PLAIN", "x"), "mapped"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.op_type,
)
def test_reasons(given: Operation, reason: str) -> None:
    rules = replace(
        RULES,
        operators={
            **RULES.operators,
            "V2": (OperatorRule(max_version=2),),
            "FLAT": (OperatorRule(conditions={"max_rank": 2}),),
            "PLAIN": (OperatorRule(conditions={"activation": "NONE"}),),
        },
    )
    layer = judge("m", [given], rules).layers[0]
    assert (layer.reason, layer.status) == (reason, f"status {reason}")
    assert layer.mapped == (reason == "mapped")


def test_any_of_several_rules_is_enough_and_the_closest_is_told() -> None:
    terms = (
        OperatorRule(dtypes=("float32",)),
        OperatorRule(max_version=1, conditions={"inputs": "2"}, remedy="give it two"),
    )
    rules = replace(RULES, operators={"ADD": terms})
    floats = op("y", "ADD", operand("x", dtype="float32"), out=operand("y", dtype="float32"))
    assert statuses([floats], rules) == ["mapped"]
    layer = judge("m", [op("y", "ADD", "x")], rules).layers[0]
    assert (layer.reason, layer.remedy) == ("limit", "give it two")


def test_the_remedy_of_a_rule_is_for_its_own_terms() -> None:
    terms = (OperatorRule(conditions={"inputs": "2"}, remedy="give it two"),)
    rules = replace(RULES, operators={"ADD": terms})
    floats = op("y", "ADD", operand("x", dtype="float32"), out=operand("y", dtype="float32"))
    assert judge("m", [floats], rules).layers[0].remedy == (
        "It computes in float32; the delegate takes int8, uint8."
    )


def test_a_rule_without_dtypes_takes_those_of_the_delegate_only() -> None:
    """Wider terms beside it do not widen it."""
    terms = (OperatorRule(), OperatorRule(dtypes=("int32",), conditions={"inputs": "2"}))
    rules = replace(RULES, operators={"ADD": terms})
    number = op("y", "ADD", operand("x", dtype="int32"), out=operand("y", dtype="int32"))
    assert statuses([number], rules) == ["limit"]


def test_types_by_the_first_output_come_before_operators() -> None:
    rules = replace(RULES, dtype_of="output")
    floats = operand("y", dtype="float32")
    assert statuses([op("y", "BAD", "x", out=floats)], rules) == ["dtype"]
    assert statuses([op("y", "BAD", operand("x", dtype="float32"))], rules) == ["operator"]


def test_only_innermost_axes() -> None:
    rules = replace(RULES, innermost=3)
    assert statuses([op("y", "GOOD", operand("x", 1, 1, 8, 8, 4))], rules) == ["mapped"]
    found = judge("m", [op("y", "GOOD", operand("x", 2, 8, 8, 4))], rules).layers[0]
    assert found.reason == "rank" and "3 innermost" in found.remedy


def test_expanded_weights_go_with_their_consumer() -> None:
    half = operand("half", dtype="float16", constant=True)
    weight = operand("w", dtype="float32", constant=True)
    graph = [
        op("w", "DEQUANTIZE", half, out=weight),
        op("t1", "GOOD", "t0", weight),
        op("t2", "BAD", "t1"),
    ]
    found = judge("m", graph, replace(RULES, folds_constants=True))
    assert [x.mapped for x in found.layers] == [True, True, False]
    assert found.subgraphs == 1
    assert statuses(graph)[0] == "operator"


def test_sums_and_notes() -> None:
    graph = [op("t1", "GOOD", "t0", macs=30), op("t2", "BAD", "t1", macs=70)]
    noted = replace(RULES, operators={"GOOD": (OperatorRule(note="if dry"),)}, notes=("general",))
    found = judge("m", graph, noted)
    assert found.mapped_macs == pytest.approx(0.3)
    assert found.mapped == 1
    assert found.notes == ("general", "GOOD: if dry")
    assert found.table == (("GOOD", 1, "status mapped"), ("BAD", 1, "status operator"))
    assert judge("m", chain("G"), RULES).mapped_macs is None


def test_an_empty_model() -> None:
    found = judge("m", [], RULES)
    assert (found.layers, found.subgraphs, found.mapped_macs) == ((), 0, None)


def test_a_large_model_takes_no_time() -> None:
    """Thousands of operators that wait for one another."""
    found = judge("m", chain("G" + "BG" * 2000), replace(RULES, max_subgraphs=1, keep="first"))
    assert found.mapped == 1 and len(found.layers) == 4001
