"""`convkit delegates`: what accelerators would take of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from convkit.cli.common import reading, with_reading, with_terminal
from convkit.cli.terminal import Terminal

if TYPE_CHECKING:
    from convkit.delegates import DelegateMap

FEW = 12


@click.command(name="delegates")
@click.argument("model")
@click.option(
    "--delegate",
    "names",
    metavar="NAME",
    multiple=True,
    help="edgetpu, gpu, nnapi, xnnpack, ... or all; may be given several times.",
)
@click.option("--layers", is_flag=True, help="Every operator by name, with the remedy.")
@click.option("--from", "source", metavar="FORMAT", help="Format; detected from content.")
@with_reading
@with_terminal
def command(
    terminal: Terminal,
    model: str,
    names: tuple[str, ...],
    layers: bool,
    source: str | None,
    **flags: Any,
) -> None:
    """Say which operators of MODEL accelerators would take, and in how many parts.

    The verdict follows the accelerators' published rules; nothing is compiled and no device is
    needed. Without --delegate all of them are summed up.
    """
    from convkit.api.delegates import delegates
    from convkit.codec import encode

    read = reading(flags)
    maps = delegates(model, names, source=source, read=read)
    if len(maps) > 1:
        _overview(terminal, maps)
    if names or layers or len(maps) == 1:
        for map_ in maps:
            _table(terminal, map_, layers)
    else:
        terminal.say()
        terminal.say("--delegate NAME shows the operators of one, --layers each by its name.")
    documents = [
        {
            **encode(map_),
            "mapped": map_.mapped,
            "table": [
                {"operator": op, "count": count, "status": status}
                for op, count, status in map_.table
            ],
        }
        for map_ in maps
    ]
    terminal.document({"model": model, "delegates": documents})


def _overview(terminal: Terminal, maps: tuple[DelegateMap, ...]) -> None:
    terminal.table(
        ("delegate", "operators taken", "of", "parts", "multiply-accumulates"),
        [
            (
                map_.delegate,
                str(map_.mapped),
                str(len(map_.layers)),
                str(map_.subgraphs),
                _share(map_.mapped_macs),
            )
            for map_ in maps
        ],
        right=(1, 2, 3, 4),
    )


def _table(terminal: Terminal, map_: DelegateMap, layers: bool) -> None:
    terminal.say()
    terminal.say(f"{map_.delegate}: {map_.model}", style="1")
    terminal.say(f"rules: {map_.version}, read {map_.retrieved}: {map_.source}")
    terminal.say()
    terminal.table(
        ("operator", "count", "status"),
        [(op, str(count), status) for op, count, status in map_.table],
        right=(1,),
    )
    terminal.say()
    terminal.say(
        f"{map_.mapped} of {len(map_.layers)} operators in {map_.subgraphs} "
        f"{'part' if map_.subgraphs == 1 else 'parts'}, "
        f"{_share(map_.mapped_macs)} of the multiply-accumulates"
    )
    _remedies(terminal, map_)
    if layers:
        terminal.say()
        terminal.table(
            ("layer", "operator", "part", "module", "status"),
            [
                (
                    layer.layer,
                    layer.op_type,
                    "-" if layer.subgraph is None else str(layer.subgraph + 1),
                    layer.scope,
                    layer.status,
                )
                for layer in map_.layers
            ],
            right=(2,),
        )
    for note in map_.notes:
        terminal.say(f"note: {note}")


def _remedies(terminal: Terminal, map_: DelegateMap) -> None:
    """What stands in the way itself, not what only comes behind it."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for layer in map_.layers:
        if not layer.mapped and layer.reason != "subgraph" and layer.remedy:
            key = (layer.op_type, layer.status, layer.remedy)
            rows.setdefault(key, []).append(layer.scope or layer.layer)
    shown = list(rows.items()) if terminal.verbosity > 0 else list(rows.items())[:FEW]
    if not shown:
        return
    terminal.say()
    terminal.say("what to do, first things first:")
    for (op, _, remedy), places in shown:
        where = places[0] + (f" and {len(places) - 1} more" if len(places) > 1 else "")
        terminal.say(f"  {op} ({where}): {remedy}")
    if len(shown) < len(rows):
        terminal.say(f"  ... and {len(rows) - len(shown)} more (-v)")


def _share(part: float | None) -> str:
    return "none" if part is None else f"{100 * part:.1f} %"
