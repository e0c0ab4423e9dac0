"""The choices of an analysis in one drawing: what each is worth against what it costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from convkit.report import charts, choices, words
from convkit.report.blocks import Cell, Chart, Column, Legend, Marker, Table
from convkit.report.palette import SHAPES
from convkit.sensitivity import Sensitivity, Trial

CHART = "layer-choices"

MEASURED = Marker(SHAPES["circle"], "var(--fp32)")
PLAIN = Marker(SHAPES["triangle-up"], "var(--int8)")
CHOSEN = Marker(SHAPES["star"], "var(--fp16)")
GUESSED = Marker(SHAPES["diamond"], "var(--left-out)")
FLOAT = Marker(SHAPES["square"], "var(--other-precision)")


@dataclass(frozen=True)
class _Axis:
    """Attributes:
    limit: as it is drawn.
    rooted: the scale is one of square roots.
    """

    title: str
    column: str
    limit: float | None = None
    rooted: bool = False


@dataclass(frozen=True)
class _Point:
    name: str
    x: float
    y: float
    marker: Marker
    description: str
    low: float | None = None
    high: float | None = None
    label: str = ""
    kind: str = ""


def choices_chart(s: Sensitivity, line: Sequence[Trial]) -> Chart | None:
    """None where nothing has both a cost and an accuracy that can be drawn."""
    across, up = _across(s), _up(s)
    points = [p for p in (_point(s, trial) for trial in line) if p is not None]
    if not points:
        return None
    if choices.scored(s) and across.column == "time over float":
        points.append(
            _Point("the float model", 1.0, 0.0, FLOAT, "the float model", label="float model")
        )
    names = {p.name: p for p in points}
    front = _rising([names[n] for n in s.front if n in names])
    left = len(line) - sum(p.marker is not FLOAT for p in points)
    summary = (
        "Left is cheaper, up is more accurate. "
        + ("The dashed line joins what no other choice beats in both. " if front else "")
        + ("Thin lines are the limits that were asked for. " if _limited(across, up) else "")
        + (f"{words.count(left, 'choice')} without both figures left out." if left else "")
    ).strip()
    spec = charts.choices(
        [_row(p, across, up) for p in points],
        [{"x": p.x, "y": p.y} for p in front],
        (across.title, up.title),
        (across.limit, up.limit),
        summary,
        rooted=up.rooted,
    )
    return Chart(
        CHART,
        f"{up.column[0].upper()}{up.column[1:]} against {across.column}",
        summary,
        spec,
        _table(points, across, up),
        _legend(points),
    )


def _rising(points: Sequence[_Point]) -> list[_Point]:
    """The corners of a front from left to right: each is higher than all before it. A front by
    share of arithmetic need not be one by measured time."""
    corners: list[_Point] = []
    for point in sorted(points, key=lambda p: (p.x, -p.y)):
        if not corners or point.y > corners[-1].y:
            corners.append(point)
    return corners


def mark_of(s: Sensitivity, trial: Trial) -> str:
    """What the drawing calls a trial."""
    return f"{trial.name}: {choices.summary(s, trial)}"


def _across(s: Sensitivity) -> _Axis:
    if any(t.time is not None for t in s.trials):
        return _Axis("time of one inference over the float model's", "time over float", s.max_time)
    if any(t.predicted_time is not None for t in s.trials):
        title = "time of one inference over the float model's, predicted"
        return _Axis(title, "predicted time over float")
    if any(t.float_macs is not None for t in s.trials):
        return _Axis("share of the multiply-accumulates in float", "MACs in float")
    return _Axis("share of the layers in float", "layers in float")


def _up(s: Sensitivity) -> _Axis:
    if choices.scored(s):
        limit = None if s.max_drop is None else -s.max_drop
        title = f"change of {s.metric} (square root scale)"
        return _Axis(title, f"change of {s.metric}", limit, rooted=True)
    return _Axis("SQNR at the outputs, dB", "SQNR in dB")


def _limited(across: _Axis, up: _Axis) -> bool:
    return across.limit is not None or up.limit is not None


def _point(s: Sensitivity, trial: Trial) -> _Point | None:
    x, y = choices.price(s, trial), choices.accuracy(s, trial)
    if y is None and not trial.measured and not choices.scored(s):
        y = trial.predicted_db
    if y is None or not math.isfinite(x) or not math.isfinite(y):
        return None
    plain = choices.baseline(s)
    marker, label, kind = MEASURED, "", "measured"
    if trial.name == s.chosen:
        marker, label, kind = CHOSEN, "chosen", "chosen"
    elif not trial.measured:
        marker, kind = GUESSED, "predicted"
    elif plain is not None and trial.name == plain.name:
        kind = "only what was asked for" if s.asked else "nothing in float"
        marker, label = PLAIN, kind
    return _Point(
        trial.name, x, y, marker, mark_of(s, trial), trial.time_low, trial.time_high, label, kind
    )


def _row(p: _Point, across: _Axis, up: _Axis) -> dict[str, Any]:
    return {
        "title": p.name,
        "x": p.x,
        "y": p.y,
        "low": p.low if charts.finite(p.low) and charts.finite(p.high) else None,
        "high": p.high if charts.finite(p.low) and charts.finite(p.high) else None,
        "path": p.marker.path,
        "colour": p.marker.colour,
        "label": p.label,
        "description": p.description,
        "tips": {
            "choice": p.name,
            "figures": p.kind or "the original",
            across.column: words.figure(p.x),
            # A name of a tip ends in an expression of Vega's: it must not come from outside.
            "change of the metric" if up.rooted else up.column: _accuracy(p, up),
        },
    }


def _accuracy(p: _Point, up: _Axis) -> str:
    return words.change(p.y) if up.rooted else words.fixed(p.y, 1)


def _table(points: Sequence[_Point], across: _Axis, up: _Axis) -> Table:
    columns = (
        Column("choice"),
        Column("figures"),
        Column(across.column, numeric=True),
        Column(up.column, numeric=True),
    )
    rows = tuple(
        (
            Cell(p.name, marker=p.marker),
            Cell(p.kind or words.NONE),
            Cell(words.figure(p.x)),
            Cell(_accuracy(p, up)),
        )
        for p in points
    )
    return Table("Cost and accuracy of the choices", columns, rows)


def _legend(points: Sequence[_Point]) -> Legend:
    meanings = (
        ("measured", MEASURED),
        ("chosen", CHOSEN),
        ("nothing kept in float", PLAIN),
        ("predicted, over all outputs", GUESSED),
        ("the float model", FLOAT),
    )
    drawn = {p.marker for p in points}
    return Legend((("", tuple((text, m) for text, m in meanings if m in drawn)),))
