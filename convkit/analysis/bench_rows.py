"""A benchmark as one flat table: a row a model, for CSV and whatever reads it."""

from __future__ import annotations

import csv
import io

from convkit.benchmark import Benchmark, BenchmarkRow

Cell = str | int | float | None

COLUMNS = (
    "title",
    "state",
    "path",
    "size_bytes",
    "runner",
    "load_seconds",
    "first_seconds",
    "peak_bytes",
    "inferences",
    "mean_seconds",
    "minimum_seconds",
    "median_seconds",
    "p90_seconds",
    "p95_seconds",
    "p99_seconds",
    "deviation_seconds",
    "baseline",
    "ratio",
    "ratio_low",
    "ratio_high",
    "confidence",
    "margin",
    "verdict",
)
LAST = ("error", "hint")


def to_csv(benchmark: Benchmark) -> str:
    """The table as RFC 4180 text, with a header; columns `throughput_N` for N streams. Times are
    in seconds; what was not measured is empty."""
    counts = sorted({int(n) for row in benchmark.rows for n in row.throughput})
    text = io.StringIO(newline="")
    flows = [f"throughput_{count}" for count in counts]
    writer = csv.DictWriter(text, (*COLUMNS, *flows, *LAST), restval="")
    writer.writeheader()
    writer.writerows(_row(row) for row in benchmark.rows)
    return text.getvalue()


def _row(row: BenchmarkRow) -> dict[str, Cell]:
    cells: dict[str, Cell] = {
        "title": row.title,
        "state": row.state,
        "path": row.path,
        "size_bytes": row.size_bytes,
        "runner": row.runner,
        "load_seconds": row.load_seconds,
        "first_seconds": row.first_seconds,
        "peak_bytes": row.peak_bytes,
        "error": row.error,
        "hint": row.hint,
        **{f"throughput_{count}": value for count, value in row.throughput.items()},
    }
    if row.latency is not None:
        cells |= {
            "inferences": row.latency.count,
            "mean_seconds": row.latency.mean,
            "minimum_seconds": row.latency.minimum,
            "median_seconds": row.latency.median,
            "p90_seconds": row.latency.p90,
            "p95_seconds": row.latency.p95,
            "p99_seconds": row.latency.p99,
            "deviation_seconds": row.latency.deviation,
        }
    if row.ratio is not None:
        cells |= {
            "baseline": row.ratio.baseline,
            "ratio": row.ratio.value,
            "ratio_low": row.ratio.low,
            "ratio_high": row.ratio.high,
            "confidence": row.ratio.confidence,
            "margin": row.ratio.margin,
            "verdict": row.ratio.verdict,
        }
    return cells
