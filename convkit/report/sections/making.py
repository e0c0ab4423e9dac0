"""How the files were made: the roads from the original, what failed on them and what was ruled
out."""

from __future__ import annotations

from convkit.comparison import Comparison
from convkit.report import words
from convkit.report.blocks import (
    Block,
    Cell,
    Column,
    Details,
    Node,
    Section,
    Status,
    Table,
    Tree,
)
from convkit.report.palette import STATUS_OF, marker
from convkit.report.roads import Road, roads


def making(comparison: Comparison) -> Section | None:
    """None where nothing is known about it."""
    blocks: list[Block] = []
    root = roads(comparison)
    if root is not None:
        label = f"Roads from {comparison.models[0].title}"
        blocks.append(Tree(label, _node(root)))
    if comparison.rejected:
        columns = (
            Column("edge or road"),
            Column("why it was not taken"),
            Column("what would help"),
        )
        rows = tuple(
            (Cell(r.subject, code=True), Cell(r.reason), Cell(r.remedy or words.NONE))
            for r in dict.fromkeys(comparison.rejected)
        )
        blocks.append(
            Details(
                "Ruled out before any work",
                (Table("Rejections", columns, rows, cards=True, quiet=True),),
                summary=words.count(len(rows), "road"),
            )
        )
    return Section("making", "How they were made", blocks) if blocks else None


def _node(road: Road) -> Node:
    hop = road.hop
    edge, verdict, lines = "", "", []
    status: Status = ""
    if hop is not None:
        edge = " · ".join(
            filter(
                None,
                (
                    hop.converter,
                    hop.environment.partition("@")[0],
                    "cached" if hop.cached else words.time(hop.seconds),
                ),
            )
        )
        found = hop.verification
        if found is not None:
            verdict, status = found.verdict, STATUS_OF.get(found.verdict, "")
            if found.slices:
                verdict += f", {words.decibels(found.sqnr_db)}"
        if hop.recipe is not None and hop.recipe.rules:
            kept = words.count(len(hop.recipe.float_layers), "operator")
            lines.append(f"{hop.recipe.name}: {kept} in float")
        lines.append(words.size(hop.size_bytes))
    return Node(
        state=road.state,
        marker=marker(road.state),
        edge=edge,
        verdict=verdict,
        status=status,
        lines=tuple(lines),
        outputs=tuple(entry.title for entry in road.outputs),
        children=(*(_node(c) for c in road.children), *_failed(road)),
    )


def _failed(road: Road) -> list[Node]:
    tried = [
        Node(
            state=failure.target,
            marker=marker(failure.target),
            edge=failure.converter,
            verdict="failed",
            status="bad",
            lines=(failure.message,),
            failed=True,
        )
        for failure in road.failures
    ]
    refused = [
        Node(
            state=entry.model.state,
            marker=entry.marker,
            verdict="not made",
            status="bad",
            lines=(entry.error,),
            outputs=(entry.title,),
            failed=True,
        )
        for entry in road.refusals
    ]
    return [*tried, *refused]
