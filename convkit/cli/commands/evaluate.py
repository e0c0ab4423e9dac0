"""`convkit evaluate`: a metric for models of any format, run alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from convkit.cli.common import reading, with_reading, with_terminal
from convkit.cli.gating import limits_of, with_gates, write_files
from convkit.cli.terminal import Terminal, human_bytes, human_seconds
from convkit.errors import ExitCode

if TYPE_CHECKING:
    from convkit.evaluation import Evaluation, EvaluationRow

SHOWN_DETAILS = 6


@click.command(name="evaluate")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "--data",
    required=True,
    metavar="PATH",
    help="Labelled data set; for a metric without labels, samples as for --calibration.",
)
@click.option(
    "--metric",
    required=True,
    metavar="NAME",
    help="An installed metric (`convkit plugins`), or module:function, or file.py:function.",
)
@click.option(
    "--reference", metavar="MODEL", help="What the others are compared with; else the first one."
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Use the first N samples.")
@click.option("--picture", metavar="FILE.png", help="Draw the models' results side by side.")
@click.option("--threads", type=int, default=0, help="Threads of the runtimes; 0: theirs.")
@click.option("--timeout", type=float, default=3600.0, show_default=True, help="Seconds per step.")
@with_gates(speed=False)
@with_reading
@with_terminal
def command(
    terminal: Terminal,
    models: tuple[str, ...],
    data: str,
    metric: str,
    reference: str | None,
    limit: int | None,
    picture: str | None,
    **flags: Any,
) -> None:
    """Score MODELs on one data set: metric, change, agreement, and what is wrong.

    A model that fails does not sink the others; the exit code is then 1.
    """
    from convkit.analysis.gates import judge, require
    from convkit.api.evaluation import evaluate
    from convkit.cli.progress import ProgressView
    from convkit.codec import encode
    from convkit.engine.session import Settings
    from convkit.engine.worker import Limits

    limits = limits_of(flags)
    with ProgressView(terminal) as view:
        found = evaluate(
            models,
            data=data,
            metric=metric,
            reference=reference,
            limit=limit,
            picture=picture,
            settings=Settings(threads=flags["threads"]),
            limits=Limits(flags["timeout"]),
            read=reading(flags),
            listener=view,
        )
    _show(terminal, found)
    if picture is not None and found.picture is None:
        terminal.warn(f"{metric} has no picture")
    gates = judge(limits, found, None)
    write_files(terminal, flags, lambda: _csv(found), gates, found.rows)
    document = {**encode(found), "gates": encode(gates)}
    require(gates, document)
    terminal.document(document)
    if any(row.error for row in found.rows):
        raise click.exceptions.Exit(ExitCode.FAILED)


def _show(terminal: Terminal, found: Evaluation) -> None:
    loud = Terminal(verbosity=max(0, terminal.verbosity))  # failures are shown under -q too
    terminal.say()
    terminal.table(
        ("model", "state", "size", found.metric, "change", "worst slice", "SQNR", "cosine"),
        [_cells(row, found.reference) for row in found.rows],
        right=(2, 3, 4, 6, 7),
    )
    for row in found.rows:
        if row.metric is not None and row.metric.details:
            shown = list(row.metric.details.items())
            if terminal.verbosity <= 0:
                shown = shown[:SHOWN_DETAILS]
            text = ", ".join(f"{name} {value:.4g}" for name, value in shown)
            terminal.say(f"  {row.title}: {text}")
        for item in row.slices if len(row.slices) > 1 or terminal.verbosity > 0 else ():
            terminal.say(
                f"     {item.output} {item.part}: {item.sqnr_db:.1f} dB, cosine {item.cosine:.5f}"
            )
        for problem in row.problems:
            terminal.warn(f"{row.title}: {problem}")
        if row.error:
            loud.warn(f"{row.title}: {row.error}")
            if row.hint:
                loud.say(f"  hint: {row.hint}")
    terminal.say(
        f"{found.metric} over {found.samples} samples, against {found.reference}; "
        f"took {human_seconds(found.seconds)}"
    )
    if found.picture is not None:
        terminal.say(f"picture {found.picture}")


def _cells(row: EvaluationRow, reference: str) -> tuple[str, ...]:
    worst = min(row.slices, key=lambda s: s.sqnr_db, default=None)
    change = "reference" if row.title == reference else "-"
    if row.change is not None:
        change = f"{row.change:+.4f}"
    part = "" if worst is None or worst.part == "all" else f" {worst.part}"
    return (
        row.title,
        row.state or "-",
        human_bytes(row.size_bytes) if row.size_bytes else "-",
        "FAILED" if row.metric is None else f"{row.metric.value:.4f}",
        change,
        f"{worst.output}{part}" if worst is not None else "-",
        f"{worst.sqnr_db:.1f} dB" if worst is not None else "-",
        f"{worst.cosine:.5f}" if worst is not None else "-",
    )


def _csv(found: Evaluation) -> str:
    """One row per model; details have columns of their own."""
    import csv
    import io

    details = list(dict.fromkeys(k for row in found.rows if row.metric for k in row.metric.details))
    header = ["title", "state", "path", "size_bytes", "metric", "value", "change", "samples"]
    header += [*details, "worst_sqnr_db", "worst_cosine", "problems", "error", "hint"]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(header)
    for row in found.rows:
        metric = row.metric
        own = metric.details if metric else {}
        writer.writerow(
            [
                row.title,
                row.state,
                row.path,
                row.size_bytes,
                found.metric,
                metric.value if metric else "",
                "" if row.change is None else row.change,
                metric.samples if metric else "",
                *(own.get(name, "") for name in details),
                min((s.sqnr_db for s in row.slices), default=""),
                min((s.cosine for s in row.slices), default=""),
                "; ".join(row.problems),
                row.error,
                row.hint,
            ]
        )
    return text.getvalue()
