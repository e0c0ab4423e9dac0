"""Read a delegate's rules from a TOML file, strictly: a word that means nothing is an error.

    name = "edgetpu"
    title = "Edge TPU (compiler 16)"
    format = "tflite"
    source = "https://..."             # where they were published
    version = "compiler 16.0"
    retrieved = 2026-11-23
    dtypes = ["int8", "uint8"]         # and further fields of `DelegateRules`

    [statuses]                         # the delegate's wording for every one of `REASONS`
    mapped = "Mapped to Edge TPU"

    [remedies]                         # for operators that no rule speaks of; "*" for any other
    LEAKY_RELU = "..."

    [[rule]]                           # several rules for one operator: any of them is enough
    operators = ["CONV_2D"]
    max_version = 3                    # and further fields of `OperatorRule`
    bias = true                        # any other key is one of `CONDITIONS`

A file with `base = "other.toml"` starts from a file beside it: what it says wins, operators in
`without` go, and an operator that it has rules for loses those of the base.
"""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from convkit.delegates import REASONS, DelegateRules, OperatorRule
from convkit.errors import PluginError

CONDITIONS: Mapping[str, type] = {
    # Lists are texts of words divided by spaces; operands are counted from 0.
    "above": str,  # `block_size=1`: an attribute is greater than a number
    "activation": str,  # the fused activations that are taken, `NONE` for none at all
    "axes": str,  # `1:1,2 2`: constant axes in operand 1 are one of these sets
    "bias": bool,  # a third operand is given
    "broadcast": bool,  # the first two operands broadcast to one shape
    "constant": str,  # these operands, where given, are constants
    "equal": str,  # these attributes have one value
    "exclusive": str,  # at most one of these attributes is set
    "fixed": str,  # `beta=1.0`: an attribute has a value
    "hybrid": bool,  # whether quantized constants meet float activations
    "input_dtypes": str,  # dtypes of the first operand that is no constant
    "inputs": str,  # `2-4`: so many operands are given
    "max_elements": int,  # of the first operand
    "max_rank": int,  # of every activation
    "multiple": str,  # `1:4`: where axes in operand 1 name the last axis, its size is a multiple
    "non_negative": str,  # elements of these constant operands
    "ones": str,  # elements of these constant operands
    "output_dtypes": str,  # dtypes of the first output
    "outputs": str,  # as `inputs`
    "padding_only": bool,  # a constant among the operands only if there are two of them
    "per_tensor": bool,  # one scale for each activation
    "positive": str,  # elements of these constant operands
    "product_ratio": str,  # `0.5..2`: the product of two quantized scales over that of the output
    "ranks": str,  # of the first operand
    "runtime": str,  # these operands are no constants
    "runtime_inputs": str,  # `1-2`: so many operands are no constants
    "same_dtypes": bool,  # of all activations
    "scalar_output": bool,  # whether an output without axes is taken
    "scale_ratio": str,  # `0.5..2`: the scale of each quantized input over that of the output
    "spared_attribute": str,  # `axis`: the attribute does not name the first axis
    "spared_axes": str,  # `1:0`: constant axes in operand 1 do not name axis 0
    "spared_padding": str,  # `1:0`: constant paddings in operand 1 leave axis 0 alone
    "symmetric": str,  # these operands, where quantized, have the zero point 0
    "unit_pool": bool,  # whether a 1x1 window may stride
    "vector": str,  # these operands are greater than 1 in their last axis only
    "vector_output": bool,  # so is the first output
    "zero": str,  # these attributes are 0
}
"""Limits that a rule may set, with the type of their value."""

_RULE_FIELDS = {"max_version": int, "status": str, "stranded": str, "note": str, "remedy": str}
_LISTS = ("dtypes", "notes")
_KINDS = {
    "dynamic_shapes": bool,
    "folds_constants": bool,
    "innermost": int,
    "max_subgraphs": int,
    "min_operators": int,
}
_CHOICES = {"dtype_of": ("activations", "output"), "keep": ("first", "largest")}


def read_rules(path: Path) -> DelegateRules:
    """The rules in a file.

    Raises:
        PluginError: it cannot be read, or says something that means nothing.
    """
    try:
        return _rules(_document(path))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        text = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise PluginError(f"the delegate rules {path.name} are unusable: {text}") from error


def rules_fault(rules: Any) -> str:
    """What is wrong with rules, however they were made; empty where nothing is."""
    if not isinstance(rules, DelegateRules):
        return f"{rules!r} are no DelegateRules"
    empty = [
        name
        for name in ("name", "title", "format", "source", "version", "retrieved")
        if not isinstance(getattr(rules, name), str) or not getattr(rules, name).strip()
    ]
    if empty:
        return f"they do not say their {', '.join(empty)}"
    wrong = [name for name, kind in _KINDS.items() if type(getattr(rules, name)) is not kind]
    wrong += [name for name, few in _CHOICES.items() if getattr(rules, name) not in few]
    if wrong:
        name = wrong[0]
        return f"{name} cannot be {getattr(rules, name)!r}"
    if not rules.operators:
        return "they take no operator at all"
    missing = [reason for reason in REASONS if not rules.statuses.get(reason)]
    if missing:
        return f"they have no wording for the status {', '.join(missing)}"
    strange = sorted(set(rules.statuses) - set(REASONS))
    if strange:
        return f"there is no status called {', '.join(strange)}"
    for operator, terms in rules.operators.items():
        for rule in terms:
            fault = _condition_fault(rule.conditions)
            if fault:
                return f"{operator}: {fault}"
    return ""


def _condition_fault(conditions: Mapping[str, Any]) -> str:
    for name, value in conditions.items():
        if name not in CONDITIONS:
            return f"there is no condition called {name!r}"
        if type(value) is not CONDITIONS[name]:
            return f"{name} takes a {CONDITIONS[name].__name__}, not {value!r}"
    return ""


def _document(path: Path) -> dict[str, Any]:
    """The file, laid over its base."""
    with path.open("rb") as file:
        own = tomllib.load(file)
    base = own.pop("base", None)
    without = own.pop("without", [])
    if base is None:
        return own
    if Path(base).name != base or base == path.name:
        raise ValueError(f"its base {base!r} is no other file beside it")
    whole = _document(path.parent / base)
    replaced = {*without, *(op for rule in own.get("rule", []) for op in rule["operators"])}
    kept = []
    for rule in whole.get("rule", []):
        operators = [op for op in rule["operators"] if op not in replaced]
        if operators:
            kept.append({**rule, "operators": operators})
    return {
        **whole,
        **own,
        "rule": [*kept, *own.get("rule", [])],
        "statuses": {**whole.get("statuses", {}), **own.get("statuses", {})},
        "remedies": {**whole.get("remedies", {}), **own.get("remedies", {})},
    }


def _rules(document: dict[str, Any]) -> DelegateRules:
    operators: dict[str, list[OperatorRule]] = {}
    for entry in document.pop("rule"):
        entry = dict(entry)
        names = entry.pop("operators")
        if not names or not isinstance(names, list):
            raise ValueError("a rule names no operators")
        rule = _rule(entry)
        for name in names:
            operators.setdefault(name, []).append(rule)
    known = {f.name for f in fields(DelegateRules)} - {"operators"}
    strange = sorted(set(document) - known)
    if strange:
        raise ValueError(f"{', '.join(strange)} means nothing")
    values: dict[str, Any] = {k: tuple(v) if k in _LISTS else v for k, v in document.items()}
    if isinstance(values.get("retrieved"), datetime.date):
        values["retrieved"] = values["retrieved"].isoformat()
    rules = DelegateRules(operators={k: tuple(v) for k, v in operators.items()}, **values)
    fault = rules_fault(rules)
    if fault:
        raise ValueError(fault)
    return rules


def _rule(entry: dict[str, Any]) -> OperatorRule:
    own = {name: entry.pop(name) for name in list(entry) if name in _RULE_FIELDS}
    for name, value in own.items():
        if type(value) is not _RULE_FIELDS[name]:
            raise ValueError(f"{name} takes a {_RULE_FIELDS[name].__name__}, not {value!r}")
    dtypes = tuple(entry.pop("dtypes", ()))
    return OperatorRule(dtypes=dtypes, conditions=entry, **own)
