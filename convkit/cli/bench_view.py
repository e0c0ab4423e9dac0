"""A benchmark for people: a table, a plot of ratios with their intervals, and what to know."""

from __future__ import annotations

import sys

from convkit.benchmark import Benchmark, BenchmarkRow
from convkit.cli.terminal import Terminal, human_bytes, human_seconds

PLOT_WIDTH = 40
PLOT_LIMIT = 4.0
"""Of the axis, as a multiple of the baseline: one very slow model should not flatten the rest."""
BLOCKS = ("█", "▒", "│")
LETTERS = ("#", "=", "|")
"""What stands for the ratio, for the interval and for the baseline."""


def show(terminal: Terminal, found: Benchmark) -> None:
    """Everything that was measured."""
    measured = [row for row in found.rows if not row.error]
    if measured:
        _table(terminal, found, measured)
        plot(terminal, found, measured)
    for row in found.rows:
        if row.error:
            terminal.warn(f"{row.title}: {row.error}")
            if row.hint:
                terminal.say(f"  hint: {row.hint}")
    if not measured:
        return
    terminal.say()
    machine = found.machine
    threads = f"{found.threads} thread{'s' * (found.threads > 1)}"
    terminal.say(
        f"{threads} each, {found.rounds} rounds in turns, {human_seconds(found.seconds)}; "
        f"{machine.processor}, {machine.cores} cores, {', '.join(machine.features) or 'features'}"
        f"{'' if machine.features else ' unknown'}"
    )
    for name, shape in found.shapes.items():
        terminal.detail(f"{name}: {'x'.join(map(str, shape)) or 'scalar'}")
    for note in found.notes:
        terminal.say(f"- {note}")


def _table(terminal: Terminal, found: Benchmark, rows: list[BenchmarkRow]) -> None:
    counts = sorted({int(count) for row in rows for count in row.throughput})
    streams = [f"{count} stream{'s' * (count > 1)}" for count in counts]
    header = ("model", "state", "size", "load", "first", "median", "p90", "p99", "memory", *streams)
    terminal.say()
    terminal.table(
        header,
        [_cells(row, counts) for row in rows],
        right=tuple(range(2, len(header))),
    )


def _cells(row: BenchmarkRow, counts: list[int]) -> tuple[str, ...]:
    found = row.latency
    times = (found.median, found.p90, found.p99) if found else (None, None, None)
    flows = [row.throughput.get(str(count)) for count in counts]
    return (
        row.title,
        row.state,
        human_bytes(row.size_bytes),
        *(milliseconds(t) for t in (row.load_seconds, row.first_seconds, *times)),
        "-" if row.peak_bytes is None else human_bytes(row.peak_bytes),
        *("-" if flow is None else f"{flow:.4g}/s" for flow in flows),
    )


def milliseconds(seconds: float | None) -> str:
    """`0.42 ms`, `12.3 ms`, `1.2 s`."""
    if seconds is None:
        return "-"
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def plot(terminal: Terminal, found: Benchmark, rows: list[BenchmarkRow]) -> None:
    """One bar a model: full up to the interval's lower end, shaded over the interval."""
    if len(rows) < 2:
        return
    ratios = [row.ratio for row in rows if row.ratio is not None]
    axis = min(PLOT_LIMIT, max(1.0, *(ratio.high for ratio in ratios))) * 1.02
    width = max(len(row.title) for row in rows)
    confidence = f"{ratios[0].confidence:.0%}".replace(".0%", "%")
    terminal.say()
    terminal.say(
        f"time over that of {found.baseline}, with the {confidence} interval; less is faster",
        style="1",
    )
    for row in rows:
        ratio = row.ratio
        if ratio is None:
            bar, told = _bar(1.0, 1.0, axis), "1     baseline"
        else:
            interval = f"[{ratio.low:.3f}, {ratio.high:.3f}]"
            bar, told = _bar(ratio.low, ratio.high, axis), f"{ratio.value:.3f} {interval}"
            told += f"  {ratio.verdict}"
        terminal.say(f"{row.title.ljust(width)}  {bar}  {told}")


def _bar(low: float, high: float, axis: float) -> str:
    full, shaded, mark = BLOCKS if _shows_blocks() else LETTERS
    one = int(PLOT_WIDTH / axis)
    cells = []
    for place in range(PLOT_WIDTH):
        middle = (place + 0.5) / PLOT_WIDTH * axis
        empty = mark if place == one else " "
        cells.append(full if middle < low else shaded if middle < high else empty)
    return "".join(cells)


def _shows_blocks() -> bool:
    try:
        "".join(BLOCKS).encode(getattr(sys.stderr, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        return False
    return True
