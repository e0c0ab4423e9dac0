"""Speed against quality, with the models that no other one beats on both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convkit.comparison import Comparison
from convkit.report import charts, words
from convkit.report.blocks import Cell, Chart, Column, Note, Section, Table
from convkit.report.entries import Entry, entries, metric_name
from convkit.report.sections.legend import legend


def tradeoff(comparison: Comparison) -> Section | None:
    """The scatter of latency against metric; None where either was not measured."""
    if comparison.evaluation is None or comparison.benchmark is None:
        return None
    everything = entries(comparison)
    drawn = [e for e in everything if e.seconds is not None and e.value is not None]
    left = [e for e in everything if e not in drawn]
    name = metric_name(comparison)
    blocks: list[Any] = []
    if drawn:
        blocks.append(_chart(drawn, name))
    if left:
        items = tuple(f"{e.title}: {_why(e)}" for e in left)
        blocks.append(Note("Not in the chart", "unknown", items))
    return Section("tradeoff", "Speed against quality", blocks)


def _why(entry: Entry) -> str:
    """What is missing for the chart."""
    if entry.model.error:
        return entry.model.error
    if entry.value is None:
        error = entry.scored.error if entry.scored is not None else ""
        return error or (
            f"its metric is {words.score(entry.metric.value)}" if entry.metric else "not scored"
        )
    return (entry.timed.error if entry.timed is not None else "") or "not timed"


def _chart(drawn: Sequence[Entry], name: str) -> Chart:
    front = sorted((e for e in drawn if e.model.pareto), key=lambda e: e.seconds or 0.0)
    rows = [_row(e) for e in drawn]
    summary = (
        f"Left is faster, up is better. {words.count(len(drawn), 'model')} drawn. "
        + (
            "No other model is both faster and better than "
            f"{words.enumerate_words([e.title for e in front])} (dashed line). "
            if front
            else ""
        )
        + "Horizontal bars: confidence interval of the paired time ratio."
    )
    corners = [{"ms": (e.seconds or 0.0) * 1e3, "value": e.value} for e in front]
    spec = charts.scatter(rows, corners, name, summary, "")
    return Chart(
        "speed-quality",
        f"Time of one inference against {name}",
        summary,
        spec,
        _table(drawn, name),
        legend(drawn),
    )


def _row(entry: Entry) -> dict[str, Any]:
    seconds, ratio = entry.seconds or 0.0, entry.ratio
    low = high = None
    interval = words.NONE
    if ratio is not None and charts.finite(ratio.low) and charts.finite(ratio.high):
        interval = words.span(ratio.low, ratio.high)
        if ratio.value > 0 and ratio.low > 0:
            low, high = (seconds * 1e3 * bound / ratio.value for bound in (ratio.low, ratio.high))
    named = entry.model.pareto or entry.original
    value = words.score(entry.value)
    return {
        "title": entry.title,
        "ms": seconds * 1e3,
        "low": low,
        "high": high,
        "value": entry.value,
        "path": entry.marker.path,
        "colour": entry.marker.colour,
        "label": entry.model.state if named else "",
        "description": f"{entry.title}: {words.time(seconds)}, metric {value}",
        "tips": {
            "model": entry.title,
            "state": entry.model.state,
            "metric": f"{value} ({words.change(entry.change)})",
            "time": words.time(seconds),
            "time ratio": f"{words.times(ratio.value)} ({interval})"
            if ratio is not None
            else "is the baseline",
            "size": words.size(entry.size),
        },
    }


def _table(drawn: Sequence[Entry], name: str) -> Table:
    columns = (
        Column("model"),
        Column("median ms", numeric=True),
        Column(name, numeric=True),
        Column("Pareto front"),
    )
    rows = tuple(
        (
            e.cell,
            Cell(words.milliseconds(e.seconds)),
            Cell(words.score(e.value)),
            Cell("yes" if e.model.pareto else "no"),
        )
        for e in drawn
    )
    return Table("Time and quality", columns, rows)
