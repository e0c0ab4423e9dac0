"""The page of an analysis, without a browser."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import convkit
from convkit.engine.exclusions import rules
from convkit.engine.patterns import Naming
from convkit.quant import LayerInfo
from convkit.report import choices, write_sensitivity_report
from convkit.report.blocks import Block, Chart, Details, Explorer, HeatNode, Note
from convkit.report.headline import analysis_headline
from convkit.report.modules import LONGEST, SHOWN, error_shares, heat_map
from convkit.report.page import render, render_sensitivity
from convkit.report.sections.sensitivity import sensitivity
from convkit.sensitivity import Sensitivity, SensitivityRow
from tests.report import analyses, comparisons
from tests.report.test_page import Outline

EACH = pytest.mark.parametrize("name", list(analyses.ALL))


def infos(s: Sensitivity) -> list[LayerInfo]:
    return [LayerInfo(row.layer, row.op_type, scope=row.scope) for row in s.rows]


def read_by_a_shell(line: str) -> list[str]:
    """The arguments of a command."""
    script = f"set -- {line}\nprintf '%s\\0' \"$@\""
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True, text=True)
    return done.stdout.split("\0")[:-1]


def leaves(nodes: Sequence[HeatNode]) -> Iterator[HeatNode]:
    for node in nodes:
        if node.place is not None:
            yield node
        yield from leaves(node.children)


def lines(nodes: Sequence[HeatNode]) -> int:
    return sum(1 + (lines(n.children) if n.open else 0) for n in nodes)


def found(blocks: Sequence[Block], kind: type) -> list[Any]:
    return [block for block in blocks if isinstance(block, kind)]


@EACH
def test_one_small_file_that_refers_to_nothing(name: str, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "analysis.html"
    analysis = analyses.ALL[name]()
    write_sensitivity_report(analysis, path)
    assert [p.name for p in path.parent.iterdir()] == ["analysis.html"]
    assert path.stat().st_size < 5_000_000
    text = path.read_text("utf-8")
    outline = Outline(text)
    places = [a.removeprefix("#") for a in outline.found if not a.startswith("data:")]
    assert set(places) <= set(outline.ids)
    assert len(outline.ids) == len(set(outline.ids))
    assert outline.levels[0] == 1
    assert outline.levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(outline.levels))
    document = text.partition('id="analysis" data-document>')[2].partition("</script>")[0]
    assert json.loads(document) == analysis.to_json()


def test_it_has_a_place_in_the_report_of_a_comparison() -> None:
    text = render(comparisons.full(), further=[sensitivity(analyses.detector())])
    outline = Outline(text)
    order = [p for p in outline.ids if p in ("verification", "sensitivity", "delegates")]
    assert order == ["verification", "sensitivity", "delegates"]
    assert len(outline.ids) == len(set(outline.ids))
    assert all(after <= before + 1 for before, after in pairwise(outline.levels))
    assert "<p>onnx-int8: 21 of 306 layers stay in float" in text
    assert "<p>onnx-int8: 21 of 306" not in render_sensitivity(analyses.detector())
    assert ".explorer" not in render(comparisons.full())


@pytest.mark.parametrize("name", ["detector", "tiny", "deep", "asked", "hostile", "long"])
def test_the_command_names_exactly_the_layers(name: str) -> None:
    s = analyses.ALL[name]()
    naming, layers = Naming(infos(s)), infos(s)
    for trial in choices.ordered(s):
        words = read_by_a_shell(choices.command(s, trial, naming.of(choices.kept(s, trial))))
        assert words[:3] == ["convkit", "quantize", s.model]
        pairs = list(pairwise(words))
        patterns = [value for flag, value in pairs if flag == "--exclude"]
        operators = [value for flag, value in pairs if flag == "--exclude-op"]
        named = {n for rule in rules(layers, patterns, operators) for n in rule.layers}
        assert named == set(choices.kept(s, trial))
        assert ("--keep-float" in words) == (not named)
        assert ("--calibration" in words) == (s.target != "onnx-int8-dynamic")


def test_the_command_is_one_that_convkit_takes() -> None:
    from convkit.cli.commands.quantize import command

    s = analyses.detector()
    repaired = next(t for t in s.trials if t.options)
    line = choices.command(s, repaired, Naming(infos(s)).of(choices.kept(s, repaired)))
    flags = command.make_context("quantize", read_by_a_shell(line)[2:]).params
    assert flags["targets"] == ("onnx-int8",)
    assert flags["calibration"] == "DIR"
    assert flags["converters"] == ("onnxruntime.int8",)
    assert flags["exclude"] == ("model.0",)
    assert flags["options"] == (
        "onnxruntime.int8.method=Entropy",
        "onnxruntime.int8.percentile=99.9",
    )
    plain = choices.baseline(s)
    assert plain is not None
    line = choices.command(s, plain, Naming([]).of(()))
    flags = command.make_context("quantize", read_by_a_shell(line)[2:]).params
    assert flags["keep_float"] == "none"


@pytest.mark.parametrize("name", ["detector", "tiny", "unscoped", "hostile"])
def test_the_call_in_python_says_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    s = analyses.ALL[name]()
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    monkeypatch.setattr(convkit, "convert", lambda *a, **k: calls.append((a, k)), raising=False)
    naming = Naming(infos(s))
    for trial in choices.ordered(s):
        exclusion = naming.of(choices.kept(s, trial))
        exec(choices.call(s, trial, exclusion), {})
        (model,), given = calls.pop()
        settings = given["settings"]
        assert (model, given["to"]) == (s.model, s.target)
        assert settings.exclude == exclusion.patterns
        assert settings.exclude_ops == exclusion.operators
        assert settings.keep_float == ("auto" if choices.kept(s, trial) else "none")
        steering = given.get("steering", convkit.Steering())
        assert list(steering.options.values()) == list(trial.options.values())
        assert steering.converters == ((s.converter,) if s.converter else ())


def test_the_slider_goes_from_integers_to_accuracy() -> None:
    s = analyses.detector()
    line = choices.ordered(s)
    values = [choices.accuracy(s, t) for t in line]
    known = [v for v in values if v is not None]
    assert known == sorted(known)
    assert line[0].phase == "baseline"
    assert not any(t.error for t in line)
    prices = [choices.price(s, t) for t in line]
    for place, trial in enumerate(line):
        if not trial.measured:
            assert prices[place - 1] <= prices[place]
            assert all(price > prices[place] for price in prices[place + 1 :])
    shown = choices.main(s)
    assert set(s.front) <= shown
    assert {t.name for t in line} - shown == {
        "concatenations",
        "post-processing + concatenations",
        "model.0 (method=Entropy)",
    }


def test_very_many_guesses_do_not_crowd_the_slider() -> None:
    s = analyses.tiny()
    guess = replace(s.trials[1], phase="predicted", sqnr_db=None)
    many = tuple(replace(guess, name=f"g{n}", predicted_db=float(n)) for n in range(1000))
    line = choices.ordered(replace(s, trials=(*s.trials, *many)))
    assert len(line) == choices.MOST
    assert {t.name for t in s.trials} <= {t.name for t in line}
    assert max(t.predicted_db or 0 for t in line) == 999


@EACH
def test_every_layer_is_in_the_map_once(name: str) -> None:
    rows = analyses.ALL[name]().rows
    nodes = heat_map(rows).nodes
    assert sorted(node.place for node in leaves(nodes) if node.place is not None) == list(
        range(len(rows))
    )
    assert lines(nodes) <= SHOWN
    assert len(nodes) <= LONGEST


def test_modules_sum_up_what_is_in_them() -> None:
    rows = (
        SensitivityRow("a", "Conv", "body.stem.conv", 0.003, 0.001, 75),
        SensitivityRow("b", "Mul", "body.stem.act", 0.004),
        SensitivityRow("c", "Conv", "head", 0.0, 0.002, 25),
        SensitivityRow("d", "Concat", "", 0.0),
    )
    found = heat_map(rows)
    stem, head, nowhere = found.nodes
    assert (stem.name, stem.detail, stem.level) == ("body.stem", "2\N{NO-BREAK SPACE}layers", 6)
    plain = [text.replace("\N{NO-BREAK SPACE}", " ") for text in stem.figures]
    assert plain == ["80 %", "21.5 dB", "30.0 dB", "75 %"]
    assert [(n.name, n.detail) for n in stem.children] == [("conv", "Conv a"), ("act", "Mul b")]
    assert (head.place, head.level) == (2, 5)
    assert nowhere.children[0].place == 3
    assert nowhere.children[0].figures[1] == "exact"


def test_shares_of_errors_that_are_no_numbers() -> None:
    def row(activation: float | None) -> SensitivityRow:
        return SensitivityRow("x", "Conv", activation=activation)

    assert error_shares([row(0.1), row(0.3), row(None)]) == [0.25, pytest.approx(0.75), None]
    assert error_shares([row(math.inf), row(1.0), row(math.inf)]) == [0.5, 0.0, 0.5]
    assert error_shares([row(math.nan), row(1.0)]) == [None, 1.0]
    assert error_shares([row(0.0), row(0.0)]) == [0.0, 0.0]


def test_the_first_line_says_what_is_not_in_integers() -> None:
    s = replace(analyses.detector(), notes=())
    assert "in integers" not in analysis_headline(s)
    poor = replace(s, chosen=s.trials[3].name)
    assert analysis_headline(poor).endswith(
        "Only 88\N{NO-BREAK SPACE}% of its multiply-accumulates are in integers."
    )
    told = replace(poor, notes=("Only 88% of the arithmetic runs in integers.",))
    assert analysis_headline(told) == told.notes[0]


def test_missed_limits_are_said() -> None:
    (note,) = [n for n in found(sensitivity(analyses.unranked()).blocks, Note) if n.status == "bad"]
    assert len(note.items) == 3
    assert not [
        n for n in found(sensitivity(analyses.detector()).blocks, Note) if n.status == "bad"
    ]


def test_the_chart_has_what_can_be_drawn() -> None:
    (chart,) = found(sensitivity(analyses.detector()).blocks, Chart)
    assert [row[0].text for row in chart.table.rows][-1] == "the float model"
    assert len(chart.table.rows) == 6
    assert "4\N{NO-BREAK SPACE}choices without both figures left out" in chart.summary
    (chart,) = found(sensitivity(analyses.tiny()).blocks, Chart)
    assert [row[0].text for row in chart.table.rows] == ["nothing kept in float"]
    assert found(sensitivity(analyses.failed()).blocks, Chart) == []


def test_failures_are_listed_with_their_reason() -> None:
    blocks = sensitivity(analyses.detector()).blocks
    tried = next(b for b in found(blocks, Details) if b.title == "Everything that was tried")
    assert tried.summary == "7 measured, 1 failed, 2 predicted"
    details = [row[0].detail for row in tried.blocks[0].rows]
    assert "the quantizer failed: node_mul_3 has no range" in details


def test_without_any_trial_the_map_is_there_alone() -> None:
    s = replace(analyses.tiny(), trials=(), chosen="", front=())
    section = sensitivity(s)
    assert found(section.blocks, Explorer) == []
    assert "Layers by module" in render_sensitivity(s)
