"""`convkit profile`: which kernels a runtime runs for a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from convkit.cli.common import reading, with_reading, with_terminal
from convkit.cli.terminal import Terminal

if TYPE_CHECKING:
    from convkit.delegates import ExecutedLayer, ExecutionProfile

FEW = 15
WIDE = 44


@click.command(name="profile")
@click.argument("model")
@click.option("--runs", type=click.IntRange(min=1), help="Inferences to average over.")
@click.option("--threads", type=click.IntRange(min=0), default=0, help="0: the runtime's choice.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="Seconds, at most.")
@click.option("--from", "source", metavar="FORMAT", help="Format; detected from content.")
@with_reading
@with_terminal
def command(
    terminal: Terminal,
    model: str,
    runs: int | None,
    threads: int,
    timeout: float | None,
    source: str | None,
    **flags: Any,
) -> None:
    """Run MODEL on random inputs and say which kernels ran, in which arithmetic, and how long."""
    from convkit.api.profile import profile
    from convkit.cli.progress import ProgressView
    from convkit.codec import encode
    from convkit.kit import DEFAULT_TIMEOUT

    read = reading(flags)
    with ProgressView(terminal) as view:
        found = profile(
            model,
            runs,
            source=source,
            threads=threads,
            timeout=timeout or DEFAULT_TIMEOUT,
            read=read,
            listener=view,
        )
    _show(terminal, found)
    document = encode(found)
    document.update(seconds=found.seconds, integer_seconds=found.integer_seconds)
    terminal.document(document)


def _show(terminal: Terminal, found: ExecutionProfile) -> None:
    timed = found.seconds > 0
    terminal.say(
        f"{found.model} in {found.runner}: {_milliseconds(found.wall_seconds)} ms for an "
        f"inference, mean of {found.runs}"
    )
    terminal.say()
    ranked = sorted(found.layers, key=lambda x: -x.seconds) if timed else list(found.layers)
    shown = ranked if terminal.verbosity > 0 else ranked[:FEW]
    if timed:
        terminal.table(
            ("kernel", "operator", "computes in", "ms", "share", "implementation"),
            [_timed_row(layer, found.seconds) for layer in shown],
            right=(3, 4),
        )
    else:
        terminal.table(
            ("layer", "operator", "computes in", "kernel"),
            [(_short(x.name), x.op_type, x.compute or "-", x.kernel) for x in shown],
        )
    if len(shown) < len(ranked):
        terminal.say(f"... and {len(ranked) - len(shown)} more (-v)")
    terminal.say()
    _sums(terminal, found, timed)
    for note in found.notes:
        terminal.say(f"note: {note}")


def _sums(terminal: Terminal, found: ExecutionProfile, timed: bool) -> None:
    kinds: dict[str, list[ExecutedLayer]] = {}
    for layer in found.layers:
        kinds.setdefault(layer.compute or "other", []).append(layer)
    if timed:
        rows = [
            (
                kind,
                str(len(group)),
                _milliseconds(sum(x.seconds for x in group)),
                f"{100 * sum(x.seconds for x in group) / found.seconds:.1f} %",
            )
            for kind, group in kinds.items()
        ]
        terminal.table(("computes in", "kernels", "ms", "share"), rows, right=(1, 2, 3))
        share = 100 * found.integer_seconds / found.seconds
        terminal.say(f"quantized arithmetic: {share:.1f} % of the kernels' time")
    else:
        counts = [(kind, str(len(group))) for kind, group in kinds.items()]
        terminal.table(("computes in", "operators"), counts, right=(1,))
    if found.integer_macs is not None:
        terminal.say(
            f"quantized arithmetic: {100 * found.integer_macs:.1f} % of the multiply-accumulates"
        )


def _timed_row(layer: ExecutedLayer, total: float) -> tuple[str, ...]:
    return (
        _short(layer.name),
        layer.op_type,
        layer.compute or "-",
        _milliseconds(layer.seconds),
        f"{100 * layer.seconds / total:.1f} %",
        layer.kernel,
    )


def _short(name: str) -> str:
    """The end of a name says more than its beginning."""
    return name if len(name) <= WIDE else "..." + name[3 - WIDE :]


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.3f}"
