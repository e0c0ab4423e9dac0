"""Sizes of the files."""

from __future__ import annotations

from convkit.comparison import Comparison
from convkit.report import charts, words
from convkit.report.blocks import Cell, Chart, Column, Section, Table
from convkit.report.entries import entries


def sizes(comparison: Comparison) -> Section | None:
    """Bars; None with fewer than two files to compare."""
    shown = [e for e in entries(comparison) if e.size is not None]
    if len(shown) < 2:
        return None
    original = next((e.size for e in shown if e.original), None)
    largest = max(e.size or 0 for e in shown)
    unit, factor = next(
        (u, f)
        for u, f in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1.0))
        if largest >= f or f == 1
    )
    rows, lines = [], []
    for entry in shown:
        share = (entry.size or 0) / original if original else None
        text = words.size(entry.size)
        both = f"{text}, {words.times(share)}" if share is not None and not entry.original else text
        rows.append(
            {
                "title": entry.title,
                "value": (entry.size or 0) / factor,
                "text": both,
                "colour": entry.marker.colour,
                "description": f"{entry.title}: {both}",
                "tips": {"model": entry.title, "state": entry.model.state, "size": both},
            }
        )
        lines.append((entry.cell, Cell(text), Cell(words.times(share))))
    summary = (
        "Bytes on disk, with the files that belong to a model. As a rule fp16 halves and int8 "
        "quarters what fp32 takes. Colours stand for precisions."
    )
    columns = (Column("model"), Column("size", numeric=True), Column("of the original", True))
    chart = Chart(
        "sizes",
        "Size of the files",
        summary,
        charts.bars(rows, f"size, {unit}", summary),
        Table("Sizes", columns, tuple(lines)),
    )
    return Section("size", "Size", [chart])
