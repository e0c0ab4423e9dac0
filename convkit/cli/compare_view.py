"""A comparison for people: one table, the plot of times, and what needs words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convkit.analysis.rows import rows
from convkit.cli.bench_view import milliseconds, plot
from convkit.cli.terminal import Terminal, human_bytes, human_seconds

if TYPE_CHECKING:
    from convkit.comparison import Comparison


def show(terminal: Terminal, found: Comparison) -> None:
    """One table, then what needs words."""
    table = rows(found)
    metric = found.evaluation.metric if found.evaluation else ""
    header = ["model", "size"]
    header += [metric, "change"] if found.evaluation else ["SQNR"]
    header += ["median", "p95", "x time", "interval", "speed"] if found.benchmark else []
    header.append("best")
    body = []
    for row in table:
        if row["error"] and row["size_bytes"] is None:
            continue
        cells = [str(row["title"]), _told(row["size_bytes"], human_bytes)]
        if found.evaluation:
            cells += [_told(row["value"], "{:.4f}".format), _told(row["change"], "{:+.4f}".format)]
        else:
            cells.append(_told(row["sqnr_db"], "{:.1f} dB".format))
        if found.benchmark:
            low, high = row["ratio_low"], row["ratio_high"]
            cells += [
                _told(row["median_seconds"], milliseconds),
                _told(row["p95_seconds"], milliseconds),
                _told(row["ratio"], "{:.2f}".format),
                f"{low:.2f}..{high:.2f}" if low is not None and high is not None else "-",
                str(row["verdict"] or "-"),
            ]
        cells.append("*" if row["pareto"] else "")
        body.append(tuple(cells))
    terminal.say()
    terminal.table(header, body, right=tuple(range(1, len(header) - 2)))
    if any(row["pareto"] for row in table):
        terminal.say("  * nothing here is both faster and better")
    for row in table:
        if row["error"]:
            terminal.warn(f"{row['title']}: {row['error']}")
    for sentence in found.drift:
        terminal.warn(sentence)
    for failure in found.failed:
        terminal.detail(f"{failure.converter} failed on the way: {failure.message}")
    if found.benchmark is not None:
        plot(terminal, found.benchmark, [r for r in found.benchmark.rows if not r.error])
        for note in found.benchmark.notes:
            terminal.say(f"- {note}")
    for gate in found.gates:
        terminal.say(
            f"  {'met' if gate.passed else 'NOT MET'}: {gate.limit}, {gate.title}: {gate.message}"
        )
    terminal.say(f"took {human_seconds(found.seconds['total'])}")


def _told(value: Any, form: Any) -> str:
    return "-" if value is None else str(form(value))
