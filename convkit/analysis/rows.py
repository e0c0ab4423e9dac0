"""A comparison as one flat table: a row a model, for terminals, CSV and whatever reads them."""

from __future__ import annotations

import csv
import io

from convkit.comparison import Comparison

Cell = str | int | float | bool | None

COLUMNS = (
    "title",
    "state",
    "path",
    "size_bytes",
    "integer_macs",
    "metric",
    "value",
    "change",
    "sqnr_db",
    "median_seconds",
    "p95_seconds",
    "ratio",
    "ratio_low",
    "ratio_high",
    "verdict",
    "load_seconds",
    "peak_bytes",
    "pareto",
    "error",
)


def rows(comparison: Comparison) -> tuple[dict[str, Cell], ...]:
    """One mapping a model, with all of `COLUMNS`; None where nothing was measured.

    `sqnr_db` is that of the worst output slice on the data set, or of the last hop's verification
    where there is no evaluation.
    """
    return tuple(_row(comparison, title) for title in (m.title for m in comparison.models))


def to_csv(comparison: Comparison) -> str:
    """The table as RFC 4180 text, with a header."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(rows(comparison))
    return text.getvalue()


def _row(comparison: Comparison, title: str) -> dict[str, Cell]:
    model = next(m for m in comparison.models if m.title == title)
    row: dict[str, Cell] = dict.fromkeys(COLUMNS)
    row |= {
        "title": title,
        "state": model.state,
        "path": model.path,
        "size_bytes": model.size_bytes or None,
        "pareto": model.pareto,
        "error": model.error,
    }
    if model.manifest is not None:
        row["integer_macs"] = model.manifest.integer_macs
        last = model.manifest.hops[-1].verification if model.manifest.hops else None
        row["sqnr_db"] = last.sqnr_db if last is not None else None
    scored = comparison.evaluation.row(title) if comparison.evaluation else None
    if scored is not None:
        row["error"] = row["error"] or scored.error
        row["change"] = scored.change
        if scored.metric is not None:
            row |= {"metric": scored.metric.name, "value": scored.metric.value}
        if scored.slices:
            telling = [s for s in scored.slices if not s.constant] or list(scored.slices)
            row["sqnr_db"] = min(s.sqnr_db for s in telling)
    timed = comparison.benchmark.row(title) if comparison.benchmark else None
    if timed is not None:
        row["error"] = row["error"] or timed.error
        row |= {"load_seconds": timed.load_seconds, "peak_bytes": timed.peak_bytes}
        if timed.latency is not None:
            row["median_seconds"] = timed.latency.median
            row["p95_seconds"] = timed.latency.p95
        if timed.ratio is not None:
            row |= {
                "ratio": timed.ratio.value,
                "ratio_low": timed.ratio.low,
                "ratio_high": timed.ratio.high,
                "verdict": timed.ratio.verdict,
            }
    return row
