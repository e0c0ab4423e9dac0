"""The evidence of every hop against the original, slice by slice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from convkit.comparison import Comparison
from convkit.manifest import HopRecord
from convkit.report import charts, words
from convkit.report.blocks import (
    Block,
    Cell,
    Chart,
    Column,
    Details,
    Facts,
    Group,
    Note,
    Section,
    Table,
    Text,
)
from convkit.report.palette import STATUS_OF, marker, split_state
from convkit.report.roads import Road, roads
from convkit.report.sections.agreement import slice_table
from convkit.verification import Divergence, Verification, tolerance_of

BEYOND = 10.0
"""How far right of the last finite value, in dB, an exact match is drawn."""


def verification(comparison: Comparison) -> Section | None:
    """None where no hop is known."""
    root = roads(comparison)
    hops = [r for r in root.walk() if r.hop is not None] if root is not None else []
    if not hops:
        return None
    names = _names(hops)
    checked = [r for r in hops if r.hop is not None and r.hop.verification is not None]
    blocks: list[Block] = []
    synthetic = any(r.hop and r.hop.verification and r.hop.verification.synthetic for r in checked)
    blocks.append(
        Text(
            "After every hop the result runs beside the original on the same inputs. SQNR is the "
            "power of the original's output over that of the difference, in decibels: 20 dB more "
            "means a difference ten times smaller. Boxes, scores and other parts of an output are "
            "judged apart, and the worst one counts."
        )
    )
    if synthetic:
        blocks.append(Note("Some hops were compared on random inputs, not on data", "warn"))
    chart = _chart(checked, names)
    if chart is not None:
        blocks.append(chart)
    blocks.append(Group("Hop by hop", tuple(_hop(r, names) for r in hops)))
    return Section("verification", "Does it still compute the same?", blocks)


def _names(hops: Sequence[Road]) -> dict[int, str]:
    """`tflite by onnx2tf.tflite`; numbered where the same hop starts from different artifacts."""
    found: dict[int, str] = {}
    for road in hops:
        assert road.hop is not None
        name = plain = f"{road.state} by {road.hop.converter}"
        number = 1
        while name in found.values():
            number += 1
            name = f"{plain} ({number})"
        found[id(road)] = name
    return found


def _chart(checked: Sequence[Road], names: dict[int, str]) -> Chart | None:
    parts = [
        (road, part)
        for road in checked
        if road.hop is not None and road.hop.verification is not None
        for part in road.hop.verification.slices
    ]
    unknown = [p for _, p in parts if math.isnan(p.sqnr_db)]
    parts = [(road, p) for road, p in parts if not math.isnan(p.sqnr_db)]
    if not parts:
        return None
    values = [p.sqnr_db for _, p in parts if math.isfinite(p.sqnr_db)]
    low, edge = min([0.0, *values]), max([*values, 60.0]) + BEYOND
    rows: list[dict[str, Any]] = []
    marks, lines = [], []
    order = list(dict.fromkeys(names[id(road)] for road, _ in parts))
    for road, part in parts:
        symbol, name = marker(road.state), names[id(road)]
        text = f"{part.output} {part.part}: {words.decibels(part.sqnr_db)}"
        rows.append(
            {
                "title": name,
                "value": max(low, min(part.sqnr_db, edge)),
                "path": symbol.path,
                "colour": symbol.colour,
                "description": f"{name}: {text}",
                "tips": {"hop": name, "output": f"{part.output} {part.part}",
                         "SQNR": words.decibels(part.sqnr_db)},
            }
        )  # fmt: skip
        tolerance = tolerance_of(split_state(road.state)[1])
        marks.append({"title": name, "value": tolerance.floor, "colour": "var(--bad)"})
        marks.append({"title": name, "value": tolerance.target, "colour": "var(--good)"})
        lines.append(
            (
                Cell(name, marker=symbol),
                Cell(f"{part.output} {part.part}", code=True),
                Cell(words.decibels(part.sqnr_db)),
                Cell(words.decibels(tolerance.floor)),
                Cell(words.decibels(tolerance.target)),
            )
        )
    summary = (
        "One mark for every part of an output, further right is closer to the original. The two "
        "upright lines are what the precision may lose: left of the first the result is wrong, "
        "right of the second it is as good as the precision can be expected to be."
    )
    if any(p.sqnr_db == math.inf for _, p in parts):
        summary += " Exact matches are drawn at the right edge."
    if any(p.sqnr_db == -math.inf for _, p in parts):
        summary += " What has NaN or infinity is drawn at the left edge."
    if unknown:
        summary += f" {words.count(len(unknown), 'part')} without an SQNR cannot be drawn."
    columns = (
        Column("hop"),
        Column("output"),
        Column("SQNR", numeric=True),
        Column("wrong below", numeric=True),
        Column("good from", numeric=True),
    )
    unique = [dict(m) for m in dict.fromkeys(tuple(m.items()) for m in marks)]
    spec = charts.dots(
        rows, "SQNR against the original, dB", summary,
        order=order, marks=unique, bounds=(low, edge + 2),
    )  # fmt: skip
    table = Table("SQNR of every part of every output", columns, tuple(lines))
    return Chart("sqnr", "Agreement with the original after every hop", summary, spec, table)


def _hop(road: Road, names: dict[int, str]) -> Details:
    hop = road.hop
    assert hop is not None
    blocks: list[Block] = []
    found = hop.verification
    if found is None:
        return Details(names[id(road)], (*_made(hop),), summary="not verified", status="unknown")
    blocks += _findings(found)
    if found.slices:
        blocks.append(slice_table(found.slices, f"Against the original, {_samples(found)}"))
    if hop.predecessor is not None and hop.predecessor.slices:
        against = hop.predecessor.against
        blocks.append(
            slice_table(hop.predecessor.slices, f"Against its own input, {against}: this hop alone")
        )
    blocks += _made(hop)
    worst = f", {words.decibels(found.sqnr_db)} at worst" if found.slices else ""
    bad = found.verdict in ("wrong", "degraded")
    return Details(
        names[id(road)],
        tuple(blocks),
        summary=f"{found.verdict}{worst}",
        status=STATUS_OF.get(found.verdict, ""),
        open=bad,
    )


def _samples(found: Verification) -> str:
    kind = "random input" if found.synthetic else "sample"
    return f"on {words.count(found.samples, kind)}"


def _findings(found: Verification) -> list[Block]:
    blocks: list[Block] = []
    if found.problems:
        status = STATUS_OF.get(found.verdict, "warn")
        blocks.append(Note("What was found", status, found.problems))
    if found.divergence is not None:
        blocks.append(_divergence(found.divergence))
    return blocks


def _divergence(place: Divergence) -> Note:
    items = [f"operator: {place.op_type}"]
    if place.scope:
        items.append(f"in the source: {place.scope}")
    if place.counterpart:
        items.append(f"compared with: {place.counterpart}")
    if place.merged:
        items.append(f"computed in one with: {', '.join(place.merged)}")
    if place.reference_value is not None and place.candidate_value is not None:
        items.append(
            f"at {list(place.position)}: {words.figure(place.reference_value, 5)} became "
            f"{words.figure(place.candidate_value, 5)}; {words.decibels(place.sqnr_db)}"
        )
    before = place.last_good_scope or place.last_good
    if before:
        items.append(f"up to {before} all agrees")
    return Note(f"First diverging layer: {place.layer}", "bad", tuple(items))


def _made(hop: HopRecord) -> list[Block]:
    """The recipe that was taken and the ones that were tried."""
    blocks: list[Block] = []
    if len(hop.attempts) > 1:
        rows = tuple(
            (
                Cell(a.recipe.name),
                Cell(words.count(len(a.recipe.float_layers), "operator")),
                Cell(words.decibels(a.sqnr_db)),
                Cell(words.size(a.size_bytes) if a.size_bytes else words.NONE),
                Cell(a.verdict, "", STATUS_OF.get(a.verdict, "bad")),
            )
            for a in hop.attempts
        )
        columns = (
            Column("recipe"),
            Column("kept in float", numeric=True),
            Column("SQNR", numeric=True),
            Column("size", numeric=True),
            Column("verdict"),
        )
        blocks.append(Table("Recipes tried", columns, rows))
    if hop.recipe is not None and hop.recipe.rules:
        blocks += [
            Details(
                f"Kept in float: {rule.reason}",
                (
                    Table(
                        "Layers kept in float",
                        (Column("layer"),),
                        tuple((Cell(name, code=True),) for name in rule.layers),
                        quiet=True,
                    ),
                ),
                summary=words.count(len(rule.layers), "operator"),
                bulk=True,
            )
            for rule in hop.recipe.rules
        ]
    if hop.options:
        bound = set(hop.bound)
        facts = tuple(
            (
                name,
                f"{value} (set because a later hop requires it)" if name in bound else str(value),
            )
            for name, value in hop.options.items()
        )
        blocks.append(Details("Options", (Facts(facts),)))
    return blocks
