"""`convkit inspect`: what a file really is."""

from __future__ import annotations

from typing import Any

import click

from convkit.cli.common import reading, with_reading, with_terminal
from convkit.cli.terminal import Terminal, human_bytes

FEW = 12


@click.command(name="inspect")
@click.argument("model")
@click.option("--from", "source", metavar="FORMAT", help="Format; detected from content.")
@with_reading
@with_terminal
def command(terminal: Terminal, model: str, source: str | None, **flags: Any) -> None:
    """Read MODEL and say what it is: true precision, tensors, operators, parameters."""
    from convkit.codec import encode
    from convkit.kit import inspect

    read = reading(flags)
    found = inspect(model, source=source, read=read)
    terminal.say(f"{model}: {found.state}" + (f", by {found.producer}" if found.producer else ""))
    if found.traits:
        terminal.say("traits: " + ", ".join(f"{k}={v}" for k, v in found.traits.items()))
    terminal.say()
    terminal.table(
        ("tensor", "name", "shape", "dtype", "scale"),
        [_tensor("input", s) for s in found.inputs] + [_tensor("output", s) for s in found.outputs],
    )
    terminal.say()
    for dtype, size in sorted(found.parameter_bytes.items(), key=lambda item: -item[1]):
        terminal.say(f"parameters in {dtype}: {human_bytes(size)}")
    if found.macs:
        share = found.integer_macs / found.macs
        terminal.say(
            f"multiply-accumulates: {found.macs:,}, {100 * share:.1f} % of them in integers"
        )
    islands = found.float_islands
    if islands:
        terminal.say(f"operators that compute in float among integers: {len(islands)}")
        shown = islands if terminal.verbosity > 0 else islands[:FEW]
        for name in shown:
            terminal.say(f"   {name}")
        if len(shown) < len(islands):
            terminal.say(f"   ... and {len(islands) - len(shown)} more (-v)")
    ranked = sorted(found.operators.items(), key=lambda item: (-item[1], item[0]))
    shown_ops = ranked if terminal.verbosity > 0 else ranked[:FEW]
    more = "" if len(shown_ops) == len(ranked) else ", ... (-v)"
    terminal.say("operators: " + ", ".join(f"{n} x{c}" for n, c in shown_ops) + more)
    document = encode(found)
    document.update(
        state=str(found.state),
        macs=found.macs,
        integer_macs=found.integer_macs,
        float_islands=list(islands),
    )
    terminal.document(document)


def _tensor(kind: str, spec: Any) -> tuple[str, ...]:
    shape = "x".join("?" if d is None else str(d) for d in spec.shape) or "scalar"
    scale = "" if spec.scale is None else f"{spec.scale:.6g}, zero point {spec.zero_point}"
    return (kind, spec.name, shape, spec.dtype, scale)
