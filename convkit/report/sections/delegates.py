"""Which operators an accelerator would take, and what would get the others taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convkit.comparison import Comparison
from convkit.delegates import DelegatedLayer, DelegateMap
from convkit.report import charts, words
from convkit.report.blocks import (
    Block,
    Cell,
    Chart,
    Column,
    Details,
    Legend,
    Marker,
    Note,
    Section,
    Table,
    Text,
)
from convkit.report.palette import SHAPES

LISTED = 60
"""Layers in a table of the page; all of them are in its JSON."""

TAKEN, LEFT = "var(--fp16)", "var(--left-out)"


def delegates(comparison: Comparison) -> Section | None:
    """None where no rules were asked."""
    maps = comparison.delegates
    if not maps:
        return None
    blocks: list[Block] = [
        Text(
            "Foreseen from the delegates' published rules, without the device: an operator counts "
            "as taken if the rules allow it."
        ),
        _chart(maps),
    ]
    blocks += [_map(found) for found in maps]
    return Section("delegates", "What accelerators would take", blocks)


def _title(found: DelegateMap) -> str:
    return f"{found.model} on {found.delegate}"


def _chart(maps: Sequence[DelegateMap]) -> Chart:
    rows: list[dict[str, Any]] = []
    lines = []
    order = list(dict.fromkeys(_title(m) for m in maps))
    for found in maps:
        taken = found.mapped
        left = len(found.layers) - taken
        text = f"{taken} of {len(found.layers)} taken"
        for rank, (what, number, colour) in enumerate(
            (("taken", taken, TAKEN), ("left on the processor", left, LEFT))
        ):
            rows.append(
                {
                    "title": _title(found),
                    "value": number,
                    "rank": rank,
                    "text": "" if rank else text,
                    "colour": colour,
                    "description": f"{_title(found)}: {number} operators {what}",
                    "tips": {"model": found.model, "delegate": found.delegate, what: str(number)},
                }
            )
        lines.append(
            (
                Cell(_title(found)),
                Cell(str(taken)),
                Cell(str(left)),
                Cell(str(found.subgraphs)),
                Cell(words.percent(found.mapped_macs, 1)),
            )
        )
    columns = (
        Column("model and delegate"),
        Column("taken", numeric=True),
        Column("left", numeric=True),
        Column("parts", numeric=True, note="Parts: pieces of the graph that are handed over."),
        Column("of the multiply-accumulates", numeric=True),
    )
    summary = "Operators that the delegate takes, and those that stay on the processor."
    return Chart(
        "delegated",
        "Operators taken",
        summary,
        charts.stacks(rows, "operators", summary, order=order),
        Table("Operators taken and left", columns, tuple(lines)),
        Legend(
            (
                (
                    "",
                    (
                        ("taken", Marker(SHAPES["square"], TAKEN)),
                        ("left on the processor", Marker(SHAPES["square"], LEFT)),
                    ),
                ),
            )
        ),
    )


def _map(found: DelegateMap) -> Details:
    taken = found.mapped
    mapped = {(layer.op_type, layer.status): layer.mapped for layer in found.layers}
    table = Table(
        "Operator, count and status",
        (Column("operator"), Column("count", numeric=True), Column("status")),
        tuple(
            (
                Cell(op, code=True),
                Cell(str(number)),
                Cell(status, status="good" if mapped[op, status] else "warn"),
            )
            for op, number, status in found.table
        ),
    )
    left = [layer for layer in found.layers if not layer.mapped]
    blocks: list[Block] = [table]
    if found.notes:
        blocks.insert(0, Note("To know", "unknown", found.notes))
    if left:
        blocks.append(_layers("Left on the processor, and the remedy", left))
    if taken:
        blocks.append(_layers("Taken", [layer for layer in found.layers if layer.mapped]))
    blocks.append(Text(f"Rules: {found.source}, version {found.version}, read {found.retrieved}."))
    share = found.mapped_macs
    macs = f", {words.percent(share, 1)} of the multiply-accumulates" if share is not None else ""
    parts = words.count(found.subgraphs, "part")
    return Details(
        _title(found),
        tuple(blocks),
        summary=f"{taken} of {len(found.layers)} operators in {parts}{macs}",
    )


def _layers(title: str, layers: Sequence[DelegatedLayer]) -> Details:
    shown = layers[:LISTED]
    remedies = any(layer.remedy for layer in shown)
    columns = [Column("layer"), Column("operator"), Column("status")]
    if remedies:
        columns.append(Column("remedy"))
    rows = []
    for layer in shown:
        cells = [
            Cell(layer.layer, layer.scope if layer.scope != layer.layer else "", code=True),
            Cell(layer.op_type, code=True),
            Cell(layer.status),
        ]
        if remedies:
            cells.append(Cell(layer.remedy or words.NONE))
        rows.append(tuple(cells))
    return Details(
        title,
        (
            Table(
                title, tuple(columns), tuple(rows), cards=True, quiet=True,
                cut=len(layers) - len(shown),
            ),
        ),
        summary=words.count(len(layers), "layer"),
        bulk=True,
    )  # fmt: skip
