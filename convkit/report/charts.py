"""Charts as Vega-Lite, made by Altair, which checks them against Vega-Lite's schema.

Colours are variables of the style sheet. Row charts carry the model's name above its bar instead of
beside it, so that long names and narrow screens get along.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import altair as alt

Row: TypeAlias = Mapping[str, Any]
Spec: TypeAlias = dict[str, Any]

INK, MUTED, GRID, PAPER = "var(--ink)", "var(--muted)", "var(--grid)", "var(--card)"
ROW = 46
"""Height in pixels of a row: a line of text and a bar."""

LIFT = -11
"""From the middle of a row up to its text."""

DROP = 8
"""From the middle of a row down to its bar."""

CONFIG: Spec = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "padding": 4,
    "axis": {
        "labelColor": MUTED,
        "titleColor": INK,
        "titleFontWeight": 500,
        "titleFontSize": 12,
        "labelFontSize": 11,
        "titlePadding": 8,
        "domainColor": MUTED,
        "gridColor": GRID,
        "tickColor": MUTED,
        "labelOverlap": "greedy",
    },
    "view": {"stroke": None},
    "text": {"fill": INK, "fontSize": 12},
    "rule": {"stroke": INK},
}


def finish(chart: Any, height: int, description: str) -> Spec:
    """The specification with the page's look; as wide as the page lets it be."""
    document: Spec = chart.properties(
        width="container", height=height, description=description
    ).to_dict()
    document["autosize"] = {"type": "fit-x", "contains": "padding"}
    document["config"] = CONFIG
    return document


def finite(value: float | None) -> bool:
    """Whether a value can be drawn."""
    return value is not None and math.isfinite(value)


def scatter(
    rows: Sequence[Row], front: Sequence[Row], metric: str, description: str, confidence: str
) -> Spec:
    """Time against metric.

    Args:
        rows: `title`, `ms`, `low`, `high` (or None), `value`, `path`, `colour`, `label`,
            `description`, and `tips`: what the pointer shows.
        front: corners of the Pareto front from left to right: `ms`, `value`.
        confidence: what the error bars are, for the axis.
    """
    values = [row["value"] for row in rows]
    bounds = [b for row in rows for b in (row["ms"], row["low"], row["high"]) if b]
    wide = max(bounds) > 20 * min(bounds) > 0
    x = alt.X(
        "ms:Q",
        title=f"median time of one inference, ms{confidence}",
        scale=alt.Scale(type="log", nice=False, padding=45)
        if wide
        else alt.Scale(zero=False, nice=False, padding=45),
        axis=alt.Axis(tickCount=6),
    )
    y = alt.Y(
        "value:Q",
        title=metric,
        scale=alt.Scale(domain=list(room(values)), nice=False),
        axis=alt.Axis(tickCount=6),
    )
    base = alt.Chart(_data(rows)).encode(x=x, y=y)
    layers: list[Any] = []
    if front:
        line = alt.Chart(_data(front)).mark_line(
            interpolate="step-after", stroke=MUTED, strokeDash=[5, 4], strokeWidth=1.5, aria=False
        )
        layers.append(line.encode(x=x, y=y))
    if any(row["low"] is not None for row in rows):
        spans = base.transform_filter("datum.low != null").mark_rule(
            strokeWidth=1.5, opacity=0.7, aria=False
        )
        layers.append(spans.encode(x=alt.X("low:Q"), x2="high:Q", y=y))
    points = base.mark_point(filled=True, size=170, opacity=1, stroke=PAPER, strokeWidth=1).encode(
        shape=_as_is("path"),
        fill=_as_is("colour"),
        tooltip=_tips(rows),
        description="description:N",
    )
    # Names only where they help most: on the front. A halo keeps them readable over lines.
    named = base.transform_filter("datum.label != ''").encode(text="label:N")
    look: Spec = {"align": "center", "dy": -15, "aria": False, "limit": 150, "fontSize": 11}
    halo = named.mark_text(**look, stroke=PAPER, strokeWidth=4, strokeJoin="round")
    text = named.mark_text(**look)
    return finish(alt.layer(*layers, points, halo, text), 380, description)


def room(values: Sequence[float]) -> tuple[float, float]:
    """Bounds of an axis that does not blow up what is no difference: at least a tenth of the
    largest value is seen, and a little air above and below."""
    low, high = min(values), max(values)
    least = max(0.1 * max(abs(low), abs(high)), 1e-6)
    if high - low < least:
        middle = (low + high) / 2
        low, high = middle - least / 2, middle + least / 2
    air = 0.12 * (high - low)
    return low - air, high + 1.6 * air


def bars(
    rows: Sequence[Row],
    axis: str,
    description: str,
    *,
    reference: float | None = None,
    bounds: tuple[float, float] | None = None,
) -> Spec:
    """One bar a model, from zero.

    Args:
        rows: `title`, `value`, `text`, `colour`, `description`, `tips`, in order.
        reference: a value that all are to be seen against.
        bounds: of the axis; chosen where absent.
    """
    scale = alt.Scale(domain=list(bounds)) if bounds else alt.Scale(nice=True)
    base = alt.Chart(_data(rows)).encode(y=_row(rows))
    drawn = base.mark_bar(height=11, yOffset=DROP, cornerRadiusEnd=2).encode(
        x=alt.X("value:Q", title=axis, scale=scale, axis=alt.Axis(tickCount=5)),
        fill=_as_is("colour"),
        tooltip=_tips(rows),
        description="description:N",
    )
    layers = [drawn, *_names(base)]
    if reference is not None:
        layers.insert(1, _line(reference, dash=[4, 3]))
    return finish(alt.layer(*layers), ROW * len(rows), description)


def intervals(rows: Sequence[Row], axis: str, description: str, margin: float) -> Spec:
    """Estimates with their intervals on a logarithmic axis around 1.

    Args:
        rows: `title`, `value`, `low`, `high`, `text`, `path`, `colour`, `description`, `tips`.
        margin: the band around 1 within which differences count as none.
    """
    edges = [e for row in rows for e in (row["low"], row["high"], row["value"]) if e > 0]
    low, high = min([0.8, *edges]) / 1.08, max([1.25, *edges]) * 1.08
    scale = alt.Scale(type="log", domain=[low, high], nice=False)
    steps = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.8, 1, 1.25, 2, 5, 10, 20, 50, 100)
    ticks = [step for step in steps if low <= step <= high]
    base = alt.Chart(_data(rows)).encode(y=_row(rows))
    band = (
        alt.Chart(_data([{"from": 1 - margin, "to": 1 + margin}]))
        .mark_rect(fill=MUTED, opacity=0.22, aria=False)
        .encode(x=alt.X("from:Q", scale=scale), x2="to:Q")
    )
    spans = base.mark_rule(yOffset=DROP, strokeWidth=2, aria=False).encode(
        x=alt.X("low:Q", scale=scale, title=axis, axis=alt.Axis(values=ticks, format="~g")),
        x2="high:Q",
    )
    points = base.mark_point(
        filled=True, size=130, opacity=1, yOffset=DROP, stroke=PAPER, strokeWidth=1
    ).encode(
        x=alt.X("value:Q", scale=scale),
        shape=_as_is("path"),
        fill=_as_is("colour"),
        tooltip=_tips(rows),
        description="description:N",
    )
    return finish(
        alt.layer(band, _line(1.0), spans, points, *_names(base)), ROW * len(rows), description
    )


def dots(
    rows: Sequence[Row],
    axis: str,
    description: str,
    *,
    order: Sequence[str],
    marks: Sequence[Row] = (),
    bounds: tuple[float, float] | None = None,
) -> Spec:
    """Several points on each row.

    Args:
        rows: `title`, `value`, `path`, `colour`, `description`, `tips`; several per title.
        order: of the titles.
        marks: small upright lines on rows: `title`, `value`, `colour`.
    """
    scale = alt.Scale(domain=list(bounds)) if bounds else alt.Scale(zero=False, nice=True)
    place = alt.Y("title:N", sort=None, axis=None, scale=alt.Scale(domain=list(order)))
    x = alt.X("value:Q", title=axis, scale=scale, axis=alt.Axis(tickCount=6))
    names = alt.Chart(_data([{"title": title, "text": ""} for title in order])).encode(y=place)
    base = alt.Chart(_data(rows)).encode(y=place)
    points = base.mark_point(
        filled=True, size=90, opacity=0.9, yOffset=DROP, stroke=PAPER, strokeWidth=1
    ).encode(
        x=x,
        shape=_as_is("path"),
        fill=_as_is("colour"),
        tooltip=_tips(rows),
        description="description:N",
    )
    layers = [points, *_names(names)]
    if marks:
        ticks = (
            alt.Chart(_data(marks))
            .mark_tick(height=16, thickness=2, yOffset=DROP, aria=False)
            .encode(x=x, y=place, fill=_as_is("colour"))
        )
        layers.insert(0, ticks)
    return finish(alt.layer(*layers), ROW * len(order), description)


def stacks(rows: Sequence[Row], axis: str, description: str, *, order: Sequence[str]) -> Spec:
    """Bars made of parts.

    Args:
        rows: `title`, `value`, `rank` (place in the bar), `text` (once a title, else empty),
            `colour`, `description`, `tips`.
        order: of the titles.
    """
    place = alt.Y("title:N", sort=None, axis=None, scale=alt.Scale(domain=list(order)))
    base = alt.Chart(_data(rows)).encode(y=place)
    parts = base.mark_bar(height=13, yOffset=DROP, stroke=PAPER, strokeWidth=1).encode(
        x=alt.X("value:Q", stack="zero", title=axis, axis=alt.Axis(tickCount=5)),
        order="rank:Q",
        fill=_as_is("colour"),
        tooltip=_tips(rows),
        description="description:N",
    )
    names = base.transform_filter("datum.text != ''")
    return finish(alt.layer(parts, *_names(names)), ROW * len(order), description)


def choices(
    rows: Sequence[Row],
    front: Sequence[Row],
    titles: tuple[str, str],
    limits: tuple[float | None, float | None],
    description: str,
    *,
    rooted: bool = False,
) -> Spec:
    """What choices cost against what they are worth.

    Args:
        rows: `title`, `x`, `y`, `low`, `high` (of x, or None), `path`, `colour`, `label`,
            `description`, `tips`.
        front: corners of the Pareto front from left to right: `x`, `y`.
        titles: of both axes.
        limits: the largest x and the least y that were asked for, or None.
        rooted: y by its square root on both sides of 0, where differences matter near 0.
    """
    across, up = titles
    bounds = [b for row in rows for b in (row["x"], row["low"], row["high"]) if b is not None]
    heights = [row["y"] for row in rows]
    if limits[0] is not None:
        bounds.append(limits[0])
    if limits[1] is not None:
        heights.append(limits[1])
    x = alt.X(
        "x:Q",
        title=across,
        scale=alt.Scale(domain=list(_air(bounds)), nice=False),
        axis=alt.Axis(tickCount=6),
    )
    y = alt.Y(
        "y:Q",
        title=up,
        scale=alt.Scale(
            type="sqrt" if rooted else "linear", domain=list(_air(heights)), nice=False
        ),
        axis=alt.Axis(tickCount=10 if rooted else 6),
    )
    base = alt.Chart(_data(rows)).encode(x=x, y=y)
    look: Spec = {"strokeWidth": 1.2, "opacity": 0.8, "aria": False, "strokeDash": [2, 2]}
    layers: list[Any] = []
    if limits[0] is not None:
        layers.append(alt.Chart(_data([{"x": limits[0]}])).mark_rule(**look).encode(x=x))
    if limits[1] is not None:
        layers.append(alt.Chart(_data([{"y": limits[1]}])).mark_rule(**look).encode(y=y))
    if front:
        line = alt.Chart(_data(front)).mark_line(
            interpolate="step-after", stroke=MUTED, strokeDash=[5, 4], strokeWidth=1.5, aria=False
        )
        layers.append(line.encode(x=x, y=y))
    if any(row["low"] is not None for row in rows):
        spans = base.transform_filter("datum.low != null").mark_rule(
            strokeWidth=1.5, opacity=0.6, aria=False
        )
        layers.append(spans.encode(x=alt.X("low:Q"), x2="high:Q", y=y))
    points = base.mark_point(filled=True, size=110, opacity=1, stroke=PAPER, strokeWidth=1).encode(
        shape=_as_is("path"),
        fill=_as_is("colour"),
        tooltip=_tips(rows),
        description="description:N",
    )
    named = base.transform_filter("datum.label != ''").encode(text="label:N")
    place: Spec = {"align": "center", "dy": -14, "aria": False, "limit": 150, "fontSize": 11}
    halo = named.mark_text(**place, stroke=PAPER, strokeWidth=4, strokeJoin="round")
    return finish(alt.layer(*layers, points, halo, named.mark_text(**place)), 340, description)


def _air(values: Sequence[float]) -> tuple[float, float]:
    """Bounds of an axis with a little room around what is drawn."""
    low, high = min(values), max(values)
    space = 0.1 * (high - low) or 0.05 * abs(high) or 0.5
    return low - space, high + 1.5 * space


def _data(rows: Sequence[Row]) -> Any:
    """Rows as data of the chart; what the pointer shows becomes columns of its own."""
    names = _tip_names(rows)
    return alt.InlineData(
        values=[
            {k: v for k, v in row.items() if k != "tips"}
            | {f"tip{names.index(k)}": v for k, v in row.get("tips", {}).items()}
            for row in rows
        ]
    )


def _tip_names(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row.get("tips", {})))


def _tips(rows: Sequence[Row]) -> list[Any]:
    return [
        alt.Tooltip(f"tip{number}:N", title=name) for number, name in enumerate(_tip_names(rows))
    ]


def _as_is(field: str) -> Any:
    """The field holds what is drawn: a colour, a shape."""
    kinds: dict[str, Any] = {"path": alt.Shape, "colour": alt.Fill}
    return kinds[field](f"{field}:N", scale=None, legend=None)


def _row(rows: Sequence[Row]) -> Any:
    titles = list(dict.fromkeys(row["title"] for row in rows))
    return alt.Y("title:N", sort=None, axis=None, scale=alt.Scale(domain=titles))


def _names(base: Any) -> list[Any]:
    """The row's name at the left and its figure at the right, above what is drawn."""
    # Names of one run differ at their ends, so what does not fit is cut out of the middle.
    fit = "max(14, floor((width - 140) / 6.6))"
    text = (
        f"length(datum.title) <= {fit} ? datum.title : "
        f"slice(datum.title, 0, floor({fit} * 0.4)) + '…' + "
        f"slice(datum.title, -floor({fit} * 0.6))"
    )
    name = base.mark_text(
        align="left", baseline="middle", dy=LIFT, aria=False, text=alt.expr(text)
    ).encode(x=alt.value(0))
    look: Spec = {"align": "right", "baseline": "middle", "dy": LIFT, "aria": False}
    figure = base.encode(x=alt.value("width"), text="text:N")
    halo = figure.mark_text(**look, stroke=PAPER, strokeWidth=4, strokeJoin="round")
    return [name, halo, figure.mark_text(**look, fill=MUTED)]


def _line(value: float, dash: Sequence[int] = ()) -> Any:
    return (
        alt.Chart(_data([{"at": value}]))
        .mark_rule(strokeWidth=1, opacity=0.8, aria=False, strokeDash=list(dash) or [1, 0])
        .encode(x=alt.X("at:Q"))
    )
