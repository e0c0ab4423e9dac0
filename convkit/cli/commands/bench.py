"""`convkit bench`: which model is faster, and how sure that is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from convkit.cli.common import reading, with_reading, with_terminal
from convkit.cli.gating import limits_of, with_gates, write_files
from convkit.cli.terminal import Terminal
from convkit.errors import ConvkitError, ExitCode, UsageError

if TYPE_CHECKING:
    from convkit.benchmark import Benchmark


@click.command(name="bench")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "--threads",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Of every model; 0: as many as there are cores.",
)
@click.option(
    "--seconds", type=float, default=5.0, show_default=True, help="Measuring time per model."
)
@click.option("--rounds", type=int, metavar="N", help="Turns of each model at most.")
@click.option(
    "--streams", default="1", show_default=True, metavar="N,N", help="Parallel streams to measure."
)
@click.option(
    "--baseline", default="", metavar="NAME", help="Model that the others are compared with."
)
@click.option(
    "--inputs", metavar="PATH", help="Samples as for --calibration; random numbers without."
)
@click.option(
    "--margin", type=float, default=0.03, show_default=True, help="Differences below count as none."
)
@click.option("--confidence", type=float, default=0.95, show_default=True, help="Of intervals.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--timeout", type=float, default=3600.0, show_default=True, help="Seconds per step.")
@with_gates(metric=False)
@with_reading
@with_terminal
def command(terminal: Terminal, models: tuple[str, ...], **flags: Any) -> None:
    """Time MODELs of any format against each other, in turns, on equal terms.

    A model that fails does not sink the others; the exit code is then 1.
    """
    from convkit.analysis.bench_rows import to_csv
    from convkit.analysis.gates import judge, require
    from convkit.api.benchmark import bench
    from convkit.cli.bench_view import show
    from convkit.cli.progress import ProgressView
    from convkit.codec import encode
    from convkit.engine.worker import Limits

    wanted = limits_of(flags)
    if wanted.slower_than is not None and len(models) < 2:
        raise UsageError("--fail-slower-than needs a second MODEL to compare with the first")
    with ProgressView(terminal) as view:
        found = bench(
            models,
            threads=flags["threads"],
            seconds=flags["seconds"],
            rounds=flags["rounds"],
            streams=parse_streams(flags["streams"]),
            baseline=flags["baseline"],
            inputs=flags["inputs"],
            margin=flags["margin"],
            confidence=flags["confidence"],
            seed=flags["seed"],
            read=reading(flags),
            limits=Limits(flags["timeout"]),
            listener=view,
        )
    show(terminal, found)
    gates = judge(wanted, None, found)
    write_files(terminal, flags, lambda: to_csv(found), gates, found.rows)
    document = {**encode(found), "gates": encode(gates)}
    require(gates, document)
    _require_measured(found)
    terminal.document(document)
    if any(row.error for row in found.rows):
        raise click.exceptions.Exit(ExitCode.FAILED)


def parse_streams(text: str) -> tuple[int, ...]:
    """Read `1,2,4`; nothing is measured for an empty text.

    Raises:
        UsageError: not numbers of 1 and more.
    """
    try:
        counts = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        counts = (0,)
    if any(count < 1 for count in counts):
        raise UsageError(
            f"--streams {text} is no list of numbers", hint="For example --streams 1,2,4."
        )
    return counts


def _require_measured(found: Benchmark) -> None:
    """Raises:
    ConvkitError: not a single model could be measured."""
    if all(row.error for row in found.rows):
        first = found.rows[0]
        raise ConvkitError(f"{first.title}: {first.error}", hint=first.hint)
