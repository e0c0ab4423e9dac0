"""Nouns cross processes and disks as JSON and come back the same."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convkit.artifact import Artifact, ReadOptions, State, TensorSpec
from convkit.calibration import CalibrationData
from convkit.codec import decode, encode
from convkit.errors import ExitCode
from convkit.inspection import Inspection
from convkit.plans import Cost, Step
from convkit.plans import Path as PlanPath
from convkit.quant import LayerInfo, QuantRecipe, QuantRule
from convkit.verification import SliceAgreement, Verification

text = st.text(max_size=8)
numbers = st.floats(allow_nan=False)
states = st.builds(State, text, text)
specs = st.builds(
    TensorSpec,
    text,
    st.lists(st.none() | st.integers(0, 9) | text, max_size=4).map(tuple),
    st.sampled_from(["float32", "int64", "bool"]),
    text,
    st.none() | numbers,
    st.none() | st.integers(-128, 127),
)
traits = st.dictionaries(text, st.booleans() | st.integers() | text, max_size=3)
reads = st.builds(
    ReadOptions,
    st.booleans(),
    text,
    st.dictionaries(text, st.lists(st.integers(1, 9), max_size=4).map(tuple), max_size=2),
    st.dictionaries(text, text, max_size=2),
)
paths = st.sampled_from([Path("model.onnx"), Path("a b") / "ä.tflite", Path("x-saved")])
artifacts = st.builds(
    Artifact,
    paths,
    states,
    st.lists(specs, max_size=2).map(tuple),
    st.lists(specs, max_size=2).map(tuple),
    text,
    st.integers(0),
    traits,
    reads,
)
layers = st.builds(
    LayerInfo, text, text, st.tuples(text), st.tuples(text, text), st.integers(0), st.integers(0)
)
rules = st.builds(QuantRule, st.lists(text, max_size=3).map(tuple), text)
recipes = st.builds(QuantRecipe, text, st.lists(rules, max_size=2).map(tuple))
inspections = st.builds(
    Inspection,
    states,
    st.lists(specs, max_size=2).map(tuple),
    st.lists(specs, max_size=2).map(tuple),
    text,
    st.dictionaries(text, st.integers(1), max_size=2),
    st.dictionaries(text, st.integers(0), max_size=2),
    st.lists(layers, max_size=2).map(tuple),
    traits,
    text,
)
slices = st.builds(
    SliceAgreement,
    text,
    text,
    numbers,
    numbers,
    numbers,
    numbers,
    st.none() | st.floats(0, 1),
    st.booleans(),
)
verifications = st.builds(
    Verification,
    st.sampled_from(["ok", "wrong", "unproven"]),
    text,
    st.integers(0),
    st.booleans(),
    st.lists(slices, max_size=2).map(tuple),
    st.lists(text, max_size=2).map(tuple),
    st.dictionaries(text, text, max_size=2),
    numbers,
)
steps = st.builds(
    Step,
    text,
    states,
    states,
    st.dictionaries(text, st.booleans() | st.integers() | text, max_size=2),
    st.lists(text, max_size=2).map(tuple),
)
plans = st.builds(
    PlanPath,
    st.lists(steps, max_size=2).map(tuple),
    st.builds(Cost, st.integers(), st.integers(), numbers),
)
calibrations = st.builds(CalibrationData, paths, st.integers(1), text, text, text)

nouns = st.one_of(
    artifacts, inspections, recipes, verifications, plans, calibrations, specs, reads, layers
)


@given(noun=nouns)
def test_round_trip(noun: Any) -> None:
    carried = json.dumps(encode(noun), allow_nan=False)  # strict JSON: no infinity, no NaN
    assert decode(type(noun), json.loads(carried)) == noun


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_what_json_cannot_carry_comes_back_as_a_number(value: float) -> None:
    noun = SliceAgreement("y", "all", value, 1.0, 0.0, 0.0, top1=value)
    found = decode(SliceAgreement, json.loads(json.dumps(encode(noun), allow_nan=False)))
    for number in (found.sqnr_db, found.top1):
        assert isinstance(number, float)
        assert number == value or (math.isnan(number) and math.isnan(value))


@given(noun=artifacts)
def test_newer_writers_do_not_break_older_readers(noun: Artifact) -> None:
    assert decode(Artifact, {**encode(noun), "invented-later": [1, 2]}) == noun


def test_optional_nouns() -> None:
    recipe = QuantRecipe("island", (QuantRule(("a", "b"), "why"),))
    assert decode(QuantRecipe | None, encode(recipe)) == recipe
    assert decode(QuantRecipe | None, None) is None


def test_enums_and_sets() -> None:
    assert decode(ExitCode, encode(ExitCode.NUMERIC)) is ExitCode.NUMERIC
    assert decode(frozenset[str], encode(frozenset({"b", "a"}))) == frozenset({"a", "b"})


def test_sets_are_written_alike_in_every_process() -> None:
    program = "from convkit.codec import encode; print(encode(frozenset('abcdefgh')))"
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in range(3)
    }
    assert said == {"['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']\n"}


@pytest.mark.parametrize("value", [object(), b"bytes", 1j, [lambda: 0]])
def test_anything_else_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="cannot be written as JSON"):
        encode(value)
