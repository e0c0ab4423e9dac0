"""`convkit plan`: what would be done, and what would not and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convkit.cli.common import reading, steering, with_reading, with_steering, with_terminal
from convkit.cli.terminal import Terminal, human_seconds
from convkit.errors import UsageError

if TYPE_CHECKING:
    from convkit.plans import Plan

PRINTED = "-"


@click.command(name="plan")
@click.argument("model", required=False)
@click.option("--from", "source", metavar="FORMAT", help="Source format; detected from MODEL.")
@click.option("--to", metavar="FORMAT[-PRECISION]", required=True, help="Target.")
@click.option("--explain", is_flag=True, help="Show every step, option and rejection.")
@click.option(
    "--graph",
    "graphs",
    multiple=True,
    metavar="FILE",
    help="Write the graph of states and edges: .mmd (Mermaid), .dot, .graphml; - prints Mermaid.",
)
@with_steering
@with_reading
@with_terminal
def command(
    terminal: Terminal,
    model: str | None,
    source: str | None,
    to: str,
    explain: bool,
    graphs: tuple[str, ...],
    **flags: Any,
) -> None:
    """Rank the paths from MODEL (or --from) to --to; nothing is converted."""
    from convkit.codec import encode
    from convkit.engine.planner import require_path
    from convkit.kit import plan

    _check_graphs(graphs, terminal.as_json)
    found = plan(
        to,
        source=source,
        model=model,
        steering=steering(flags),
        read=reading(flags),
    )
    if graphs:
        _draw(terminal, found, graphs)  # first: where no path is found it shows what is in the way
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


def _check_graphs(graphs: tuple[str, ...], as_json: bool) -> None:
    """Refuse before any work what could not be written.

    Raises:
        UsageError: an unknown suffix, or two documents for one stdout.
    """
    from convkit.engine.plan_graph import check_suffix

    for place in graphs:
        if place != PRINTED:
            check_suffix(Path(place))
        elif as_json:
            raise UsageError(
                "--graph - and --json both want stdout", hint="Write the graph to a file."
            )


def _draw(terminal: Terminal, found: Plan, graphs: tuple[str, ...]) -> None:
    from convkit.engine.plan_graph import mermaid, plan_graph, write_graph
    from convkit.plugin.manager import PluginManager
    from convkit.plugin.registry import Registry

    converters = Registry(PluginManager.discover()).converters
    graph = plan_graph(found, converters.values())
    for place in dict.fromkeys(graphs):
        if place == PRINTED:
            click.echo(mermaid(graph), nl=False)  # this time it is the command's document
        else:
            write_graph(graph, Path(place))
            terminal.say(f"wrote {place}")


def _step(step: Any) -> str:
    options = [
        f"{name}={value}" + (" (required downstream)" if name in step.bound else "")
        for name, value in step.options.items()
    ]
    where = f" [environment {step.environment}]" if step.environment else ""
    kind = "prepare " if step.source == step.target else ""
    tail = f"  {', '.join(options)}" if options else ""
    return f"{kind}{step.source} -> {step.target}  by {step.converter}{where}{tail}"
