"""The evaluation: the metric, its parts, objects by size, and the models' results to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from convkit.comparison import Comparison
from convkit.evaluation import Evaluation
from convkit.report import charts, words
from convkit.report.blocks import (
    Block,
    Cell,
    Chart,
    Column,
    Details,
    Group,
    Legend,
    Marker,
    Note,
    Picture,
    Section,
    Table,
    Text,
)
from convkit.report.entries import Entry, entries, name_cell
from convkit.report.palette import SHAPES
from convkit.report.sections.agreement import slice_table

OBJECT_SIZES = {
    "small": Marker(SHAPES["circle"], "var(--int8-dynamic)"),
    "medium": Marker(SHAPES["square"], "var(--fp16)"),
    "large": Marker(SHAPES["triangle-up"], "var(--fp32)"),
}
"""Endings of a metric's details that speak of objects by size, as COCO divides them."""


def quality(comparison: Comparison, picture: str = "") -> Section | None:
    """None without an evaluation.

    Args:
        picture: the models' results side by side, as a `data:` address.
    """
    found = comparison.evaluation
    if found is None:
        return None
    scored = [e for e in entries(comparison) if e.scored is not None]
    blocks: list[Block] = [
        Text(
            f"{found.metric} on {words.count(found.samples, 'sample')} of {_folder(found.data)}, "
            "every model with the same pre- and post-processing; changes are against "
            f"{found.reference}."
        )
    ]
    problems = [f"{e.title}: {p}" for e in scored if e.scored for p in e.scored.problems]
    if problems:
        blocks.append(Note("To know about these outputs", "warn", tuple(problems)))
    drawn = [e for e in scored if e.value is not None]
    if drawn:
        blocks.append(_metric(drawn, found))
    by_size = _by_size(drawn)
    if by_size is not None:
        blocks.append(by_size)
    blocks.append(_details(scored, found))
    if picture:
        caption = f"The same samples through each model, beside what {found.reference} finds"
        blocks.append(Group("Side by side", (Picture(picture, caption),)))
    agreements = [e for e in scored if e.scored is not None and e.scored.slices]
    if agreements:
        blocks.append(_agreements(agreements, found))
    return Section("quality", "Quality", blocks)


def _folder(data: str) -> str:
    """The name of the data set's folder: where it lies on somebody's disk is nobody's business."""
    return PurePath(data).name or data


def _metric(drawn: Sequence[Entry], found: Evaluation) -> Chart:
    rows: list[dict[str, Any]] = []
    for entry in drawn:
        text = words.score(entry.value)
        if entry.change is not None:
            text += f" ({words.change(entry.change)})"
        rows.append(
            {
                "title": entry.title,
                "value": entry.value,
                "text": text,
                "colour": entry.marker.colour,
                "description": f"{entry.title}: {text}",
                "tips": {"model": entry.title, "state": entry.model.state, "metric": text},
            }
        )
    reference = next((e.value for e in drawn if e.title == found.reference), None)
    summary = (
        f"Longer is better; the dashed line is {found.reference}. Colours stand for precisions."
    )
    table = Table(
        f"{found.metric} of each model",
        (Column("model"), Column(found.metric, numeric=True), Column("change", numeric=True)),
        tuple(
            (
                e.cell,
                Cell(words.score(e.value)),
                Cell(words.change(e.change)),
            )
            for e in drawn
        ),
    )
    values = [e.value for e in drawn if e.value is not None]
    bounds = (0.0, 1.0) if 0.5 < max(values) <= 1.0 and min(values) >= 0 else None
    spec = charts.bars(rows, found.metric, summary, reference=reference, bounds=bounds)
    return Chart("metric", f"{found.metric} of each model", summary, spec, table)


def _by_size(drawn: Sequence[Entry]) -> Chart | None:
    """Details such as `map_small`; quantization loses small objects first."""
    rows: list[dict[str, Any]] = []
    lines = []
    for entry in drawn:
        details = entry.metric.details if entry.metric is not None else {}
        values = {
            size: value
            for size in OBJECT_SIZES
            for name, value in details.items()
            if name.endswith(f"_{size}")
        }
        if not values:
            continue
        for size, value in values.items():
            if charts.finite(value):
                text = f"{size} objects {words.score(value)}"
                rows.append(
                    {
                        "title": entry.title,
                        "value": value,
                        "path": OBJECT_SIZES[size].path,
                        "colour": OBJECT_SIZES[size].colour,
                        "description": f"{entry.title}: {text}",
                        "tips": {
                            "model": entry.title,
                            "objects": size,
                            "metric": words.score(value),
                        },
                    }
                )
        cells = [Cell(words.score(values.get(size))) for size in OBJECT_SIZES]
        lines.append((entry.cell, *cells))
    sizes = [s for s in OBJECT_SIZES if any(s in r["tips"]["objects"] for r in rows)]
    if not rows:
        return None
    missing = [s for s in OBJECT_SIZES if s not in sizes]
    summary = (
        "Small objects are under 32 by 32 pixels, large ones over 96 by 96, as COCO divides them."
    )
    if missing:
        summary += f" The samples hold no {' and no '.join(missing)} objects."
    columns = (Column("model"), *(Column(s, numeric=True) for s in OBJECT_SIZES))
    order = list(dict.fromkeys(str(r["title"]) for r in rows))
    return Chart(
        "object-size",
        "Metric by size of the objects",
        summary,
        charts.dots(
            rows, "metric", summary, order=order, bounds=charts.room([r["value"] for r in rows])
        ),
        Table("Metric by size of the objects", columns, tuple(lines)),
        Legend((("objects", tuple((s, OBJECT_SIZES[s]) for s in sizes)),)),
    )


def _details(scored: Sequence[Entry], found: Evaluation) -> Table:
    names = dict.fromkeys(n for e in scored if e.metric for n in e.metric.details)
    columns = (
        Column("model"),
        Column(found.metric, numeric=True),
        Column("change", numeric=True),
        *(Column(name, numeric=True) for name in names),
    )
    rows = []
    for entry in scored:
        metric, row = entry.metric, entry.scored
        if metric is None:
            error = " ".join(filter(None, (row.error, row.hint))) if row is not None else ""
            name = name_cell(entry.title, entry.model.state, error or "not scored", "bad")
            rows.append((name, *([Cell(words.NONE)] * (len(columns) - 1))))
            continue
        rows.append(
            (
                entry.cell,
                Cell(words.score(metric.value), status="" if entry.value is not None else "bad"),
                Cell(words.change(entry.change)),
                *(Cell(_detail(metric.details.get(name))) for name in names),
            )
        )
    return Table("The metric and what comes with it", columns, tuple(rows))


def _detail(value: float | None) -> str:
    if value is not None and float(value).is_integer() and abs(value) > 1:
        return f"{int(value):,}"
    return words.score(value)


def _agreements(agreements: Sequence[Entry], found: Evaluation) -> Group:
    """Outputs on the data set, where a good metric may hide a part that went wrong."""
    return Group(
        "Agreement of the outputs on these samples",
        tuple(
            Details(
                entry.title,
                (slice_table(entry.scored.slices, f"Outputs of {entry.title}"),),
                summary=_worst(entry),
                bulk=True,
            )
            for entry in agreements
            if entry.scored is not None
        ),
    )


def _worst(entry: Entry) -> str:
    assert entry.scored is not None
    telling = [s for s in entry.scored.slices if not s.constant] or list(entry.scored.slices)
    worst = min(telling, key=lambda s: s.sqnr_db)
    return f"worst: {worst.output} {worst.part}, {words.decibels(worst.sqnr_db)}"
