"""Which kernels really ran, for how long, and in which arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convkit.comparison import Comparison
from convkit.delegates import ExecutedLayer, ExecutionProfile
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
)
from convkit.report.palette import SHAPES

LISTED = 100
"""Kernels in a table of the page, the slowest first; all of them are in its JSON."""

_COLOURS = (
    ("bfloat16", "var(--int8-dynamic)"),
    ("float16", "var(--fp16)"),
    ("float", "var(--fp32)"),
)
"""By what a dtype's name holds; integers that are no quantized numbers have the colour of the
rest."""


def profiles(comparison: Comparison) -> Section | None:
    """None where nothing was profiled."""
    found = comparison.profiles
    if not found:
        return None
    blocks: list[Block] = []
    timed = [p for p in found if sum(_parts(p).values()) > 0]
    if timed:
        blocks.append(_chart(timed))
    silent = tuple(p.model for p in found if p not in timed)
    if silent:
        blocks.append(Note("The runtime tells no times of single kernels", "unknown", silent))
    blocks += [_profile(p) for p in found]
    return Section("profiles", "What really ran", blocks)


def _colour(compute: str) -> str:
    if ExecutedLayer("", "", compute, 0.0).integer:
        return "var(--int8)"
    return next((c for part, c in _COLOURS if part in compute), "var(--left-out)")


def _parts(profile: ExecutionProfile) -> dict[str, float]:
    """Seconds by arithmetic, the most first; what is not known last."""
    found: dict[str, float] = {}
    for layer in profile.layers:
        if charts.finite(layer.seconds):
            found[layer.compute] = found.get(layer.compute, 0.0) + layer.seconds
    return dict(sorted(found.items(), key=lambda item: (not item[0], -item[1])))


def _chart(found: Sequence[ExecutionProfile]) -> Chart:
    rows: list[dict[str, Any]] = []
    lines = []
    order = list(dict.fromkeys(p.model for p in found))
    kinds: dict[str, list[str]] = {}
    for profile in found:
        parts = _parts(profile)
        total = sum(parts.values())
        for rank, (compute, seconds) in enumerate(parts.items()):
            name = compute or "not told"
            share = seconds / total if total else 0.0
            names = kinds.setdefault(_colour(compute), [])
            if name not in names:
                names.append(name)
            text = f"{name} {words.time(seconds)} ({words.percent(share)})"
            rows.append(
                {
                    "title": profile.model,
                    "value": seconds * 1e3,
                    "rank": rank,
                    "text": "" if rank else f"{words.time(total)}, {_integer(profile)} in integers",
                    "colour": _colour(compute),
                    "description": f"{profile.model}: {text}",
                    "tips": {"model": profile.model, "arithmetic": name,
                             "time": words.time(seconds), "share": words.percent(share)},
                }
            )  # fmt: skip
            lines.append(
                (
                    Cell(profile.model),
                    Cell(name),
                    Cell(words.milliseconds(seconds)),
                    Cell(words.percent(share, 1)),
                )
            )
    columns = (
        Column("model"),
        Column("arithmetic"),
        Column("ms", numeric=True),
        Column("share", numeric=True),
    )
    summary = (
        "Time inside the runtime's kernels, by the arithmetic in which they computed. Profiling "
        "itself costs time, so compare shares here and times under Speed."
    )
    symbols = tuple((", ".join(names), Marker(SHAPES["square"], c)) for c, names in kinds.items())
    return Chart(
        "arithmetic",
        "Time by arithmetic",
        summary,
        charts.stacks(rows, "time in kernels, ms", summary, order=order),
        Table("Time by arithmetic", columns, tuple(lines)),
        Legend((("", symbols),)),
    )


def _integer(profile: ExecutionProfile) -> str:
    total = profile.seconds
    return words.percent(profile.integer_seconds / total if total else None)


def _profile(profile: ExecutionProfile) -> Details:
    ranked = sorted(profile.layers, key=lambda layer: -layer.seconds)
    total = profile.seconds
    rows = tuple(
        (
            Cell(layer.name, ", ".join(layer.layers[:4]), code=True),
            Cell(layer.op_type, code=True),
            Cell(layer.compute or "not told", layer.kernel),
            Cell(words.time(layer.seconds)),
            Cell(words.percent(layer.seconds / total if total else None, 1)),
        )
        for layer in ranked[:LISTED]
    )
    columns = (
        Column("kernel"),
        Column("operator"),
        Column("arithmetic"),
        Column("time", numeric=True),
        Column("share", numeric=True),
    )
    table = Table(
        f"Kernels of {profile.model}, the slowest first",
        columns,
        rows,
        cards=True,
        quiet=True,
        cut=len(ranked) - len(rows),
    )
    notes: tuple[Block, ...] = (Note("To know", "unknown", profile.notes),) if profile.notes else ()
    return Details(
        profile.model,
        (*notes, table),
        summary=_gist(profile),
        bulk=True,
    )


def _gist(profile: ExecutionProfile) -> str:
    """What was measured, in a line."""
    parts = [profile.runner, words.count(len(profile.layers), "kernel")]
    parts.append(f"mean of {words.count(profile.runs, 'run')}")
    if profile.wall_seconds:
        parts.append(f"{words.time(profile.wall_seconds)} from outside")
    if profile.integer_macs is not None:
        share = words.percent(profile.integer_macs, 1)
        parts.append(f"{share} of the multiply-accumulates in integer kernels")
    return ", ".join(parts)
