"""The benchmark: paired ratios, percentiles, and what they were measured on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convkit.benchmark import Benchmark, BenchmarkRow
from convkit.comparison import Comparison
from convkit.report import charts, words
from convkit.report.blocks import (
    Block,
    Cell,
    Chart,
    Column,
    Details,
    Facts,
    Note,
    Section,
    Table,
)
from convkit.report.entries import Entry, entries, name_cell
from convkit.report.palette import STATUS_OF


def speed(comparison: Comparison) -> Section | None:
    """None without a benchmark."""
    found = comparison.benchmark
    if found is None:
        return None
    by_title = {e.title: e for e in entries(comparison)}
    blocks: list[Block] = []
    if found.notes:
        blocks.append(Note("What these figures rest on", "warn", found.notes))
    compared = [
        by_title[r.title]
        for r in found.rows
        if r.title in by_title and r.ratio is not None and _drawable(by_title[r.title])
    ]
    if compared:
        blocks.append(_ratios(compared, found))
    blocks.append(_latencies(found.rows))
    blocks.append(_costs(found))
    blocks.append(_conditions(found))
    return Section("speed", "Speed", blocks)


def _drawable(entry: Entry) -> bool:
    ratio = entry.ratio
    return ratio is not None and all(
        charts.finite(v) and v > 0 for v in (ratio.value, ratio.low, ratio.high)
    )


def _ratios(compared: Sequence[Entry], found: Benchmark) -> Chart:
    rows = []
    for entry in compared:
        ratio = entry.ratio
        assert ratio is not None
        text = f"{words.figure(ratio.value)} ({words.span(ratio.low, ratio.high)})"
        rows.append(
            {
                "title": entry.title,
                "value": ratio.value,
                "low": ratio.low,
                "high": ratio.high,
                "text": f"{words.times(ratio.value)}, {ratio.verdict}",
                "path": entry.marker.path,
                "colour": entry.marker.colour,
                "description": f"{entry.title}: {text} of the baseline's time, {ratio.verdict}",
                "tips": {"model": entry.title, "share of the time": text, "verdict": ratio.verdict},
            }
        )
    first = compared[0].ratio
    assert first is not None
    confidence, margin = words.percent(first.confidence), words.percent(first.margin)
    summary = (
        f"Time as a share of that of {found.baseline}, from paired rounds, with "
        f"{confidence} confidence intervals. Left of 1 is faster; inside the grey band "
        f"(±{margin}) a difference counts as none."
    )
    spec = charts.intervals(
        rows, f"time relative to {words.middle(found.baseline)}", summary, first.margin
    )
    return Chart("time-ratios", "Time against the baseline", summary, spec, _ratio_table(compared))


def _ratio_table(compared: Sequence[Entry]) -> Table:
    columns = (
        Column("model"),
        Column("ratio", numeric=True),
        Column("from", numeric=True),
        Column("to", numeric=True),
        Column("verdict"),
    )
    rows = []
    for entry in compared:
        ratio = entry.ratio
        assert ratio is not None
        rows.append(
            (
                entry.cell,
                Cell(words.figure(ratio.value)),
                Cell(words.figure(ratio.low)),
                Cell(words.figure(ratio.high)),
                Cell(ratio.verdict, "", STATUS_OF.get(ratio.verdict, "")),
            )
        )
    return Table("Ratios of time", columns, tuple(rows))


def _latencies(rows: Sequence[BenchmarkRow]) -> Table:
    columns = tuple(
        Column(title, numeric=number > 0)
        for number, title in enumerate(
            ("model", "median", "mean", "minimum", "p90", "p95", "p99", "deviation", "timed")
        )
    )
    return Table(
        "Latency of one inference, in milliseconds",
        columns,
        tuple(_latency(row) for row in rows),
    )


def _latency(row: BenchmarkRow) -> tuple[Cell, ...]:
    found = row.latency
    if found is None:
        error = " ".join(filter(None, (row.error, row.hint))) or "not measured"
        return (name_cell(row.title, row.state, error, "bad"), *([Cell(words.NONE)] * 8))
    times = (found.median, found.mean, found.minimum, found.p90, found.p95, found.p99)
    return (
        name_cell(row.title, row.state, row.runner),
        *(Cell(words.milliseconds(t)) for t in times),
        Cell(words.milliseconds(found.deviation)),
        Cell(f"{found.count:,}"),
    )


def _costs(found: Benchmark) -> Table:
    streams = sorted(
        dict.fromkeys(s for row in found.rows for s in row.throughput),
        key=lambda s: (not s.isdigit(), int(s) if s.isdigit() else 0, s),
    )
    columns = (
        Column("model"),
        *(
            Column(f"per second, {words.count(int(s), 'stream') if s.isdigit() else s}", True)
            for s in streams
        ),
        Column("loading", numeric=True),
        Column("first inference", numeric=True),
        Column("peak memory", numeric=True),
        Column("file", numeric=True),
    )
    rows = tuple(
        (
            name_cell(row.title, row.state),
            *(Cell(words.figure(row.throughput.get(s))) for s in streams),
            Cell(words.time(row.load_seconds)),
            Cell(words.time(row.first_seconds)),
            Cell(words.size(row.peak_bytes)),
            Cell(words.size(row.size_bytes)),
        )
        for row in found.rows
        if not row.error
    )
    return Table("Throughput, start and memory", columns, rows)


def _conditions(found: Benchmark) -> Details:
    machine = found.machine
    shapes = "; ".join(
        f"{name} {'x'.join(map(str, shape)) or 'scalar'}" for name, shape in found.shapes.items()
    )
    facts: list[tuple[str, Any]] = [
        ("processor", machine.processor),
        ("cores", str(machine.cores)),
        ("threads of each runtime", str(found.threads)),
        ("processor features", ", ".join(machine.features) or "none that matter"),
        ("missing for fast integers", ", ".join(machine.missing) or "nothing"),
        ("load before the run", words.fixed(machine.load, 2)),
        ("rounds", f"{found.rounds}, {words.count(found.repeats, 'inference')} each, interleaved"),
        ("inputs", shapes),
        ("platform", f"{machine.platform}, Python {machine.python}"),
        ("took", words.time(found.seconds)),
    ]
    versions = {f"{name} {version}" for row in found.rows for name, version in row.versions.items()}
    if versions:
        facts.append(("runtimes", ", ".join(sorted(versions))))
    return Details("How it was measured", (Facts(tuple(facts)),))
