"""`convkit plan`: what would be done, and what would not and why."""

from __future__ import annotations

from typing import Any

import click

from convkit.cli.common import reading, steering, with_reading, with_steering, with_terminal
from convkit.cli.terminal import Terminal, human_seconds


@click.command(name="plan")
@click.argument("model", required=False)
@click.option("--from", "source", metavar="FORMAT", help="Source format; detected from MODEL.")
@click.option("--to", metavar="FORMAT[-PRECISION]", required=True, help="Target.")
@click.option("--explain", is_flag=True, help="Show every step, option and rejection.")
@with_steering
@with_reading
@with_terminal
def command(
    terminal: Terminal, model: str | None, source: str | None, to: str, explain: bool, **flags: Any
) -> None:
    """Rank the paths from MODEL (or --from) to --to; nothing is converted."""
    from convkit.codec import encode
    from convkit.engine.planner import require_path
    from convkit.kit import plan

    found = plan(
        to,
        source=source,
        model=model,
        steering=steering(flags["via"], flags["avoid"], flags["converters"], flags["options"]),
        read=reading(flags["trust"], flags["factory"], flags["shapes"]),
    )
    require_path(found)
    for number, path in enumerate(found.paths, 1):
        cost, time = path.cost, human_seconds(path.cost.seconds)
        terminal.say(f"{number}. {path}   (loss {cost.loss}, {cost.hops} hops, ~{time})")
        for step in path.steps if explain or number == 1 else ():
            terminal.say(f"     {_step(step)}")
    if explain and found.rejections:
        terminal.say()
        terminal.say("Turned down:")
        for rejection in found.rejections:
            remedy = f"\n       remedy: {rejection.remedy}" if rejection.remedy else ""
            terminal.say(f"   - {rejection.subject}: {rejection.reason}{remedy}")
    elif found.rejections:
        terminal.say(f"{len(found.rejections)} edges were turned down; --explain says why.")
    terminal.document(encode(found))


def _step(step: Any) -> str:
    options = [
        f"{name}={value}" + (" (required downstream)" if name in step.bound else "")
        for name, value in step.options.items()
    ]
    where = f" [environment {step.environment}]" if step.environment else ""
    kind = "prepare " if step.source == step.target else ""
    tail = f"  {', '.join(options)}" if options else ""
    return f"{kind}{step.source} -> {step.target}  by {step.converter}{where}{tail}"
