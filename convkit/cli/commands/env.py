"""`convkit env`: the isolated environments of plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from convkit.cli.common import with_terminal
from convkit.cli.groups import Group
from convkit.cli.terminal import Terminal, human_bytes
from convkit.errors import EnvironmentBuildError, UsageError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from convkit.cli.progress import ProgressView
    from convkit.engine.isolation import Declared, Orphan
    from convkit.kit import Kit

LISTED_MISSING = 6
HINT = "Give a NAME (`convkit env list` shows them)"


def _names(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Shell completion of an environment's name."""
    from click.shell_completion import CompletionItem

    from convkit.kit import Kit

    edges = Kit().registry.converters.values()
    names = sorted({e.isolated.name for e in edges if e.isolated is not None})
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


@click.group(name="env", cls=Group)
def command() -> None:
    """List, build, remove and explain the isolated environments of plugins."""


@command.command(name="list")
@with_terminal
def listing(terminal: Terminal) -> None:
    """List what plugins declare and what lies in the cache."""
    kit, known, loose = _survey()
    if known:
        terminal.table(
            ("environment", "plugin", "Python", "lock", "state", "size", "used by"),
            [
                (
                    d.spec.name,
                    d.plugin,
                    d.spec.python,
                    d.digest,
                    d.state,
                    ("" if d.state == "built" else "about ") + human_bytes(d.size_bytes),
                    ", ".join(d.edges),
                )
                for d in known
            ],
            right=(5,),
        )
    else:
        terminal.say("no installed plugin declares an environment of its own")
    for item in known:
        if item.fault:
            terminal.say(f"  {item.spec.name} {item.fault}")
    if loose:
        terminal.say()
        terminal.say("In the cache, but of no installed plugin or of an older lock:")
        terminal.table(
            ("folder", "size"),
            [(o.folder, human_bytes(o.size_bytes)) for o in loose],
            right=(1,),
        )
        terminal.say("`convkit env remove --orphans` removes them.")
    terminal.detail(f"folder: {kit.builder.root}")
    terminal.document(
        {
            "folder": str(kit.builder.root),
            "environments": [_document(d) for d in known],
            "orphans": [_orphan(o) for o in loose],
        }
    )


@command.command(name="build")
@click.argument("name", required=False, shell_complete=_names)
@click.option("--all", "everything", is_flag=True, help="Every environment that can be built here.")
@with_terminal
def build(terminal: Terminal, name: str | None, everything: bool) -> None:
    """Build the environment NAME (or --all), so that no later run needs a network for it.

    A build that was interrupted is taken up where it stopped: what was downloaded is kept.
    """
    from convkit.cli.progress import ProgressView
    from convkit.engine.isolation import named

    if (name is None) == (not everything):
        raise UsageError("say which environment to build", hint=f"{HINT}, or --all.")
    kit, known, _ = _survey()
    chosen = known if name is None else named(name, known)
    results, faults = [], []
    with ProgressView(terminal) as view:
        for item in chosen:
            if item.state == "built":
                terminal.say(f"{item.spec.name} is built already")
                results.append({**_document(item), "outcome": "cached"})
                continue
            try:
                results.append(_build(kit, item, view))
            except EnvironmentBuildError as error:
                if name is not None:
                    raise
                terminal.warn(f"{error.message}: {error.hint}")
                faults.append(f"{error.message}: {error.hint}")
    if faults:
        raise EnvironmentBuildError(
            f"{len(faults)} of {len(chosen)} environments could not be built",
            hint="\n  ".join(faults),
        )
    terminal.document({"environments": results})


@command.command(name="remove")
@click.argument("name", required=False, shell_complete=_names)
@click.option("--orphans", "loose", is_flag=True, help="What belongs to no installed plugin.")
@with_terminal
def remove(terminal: Terminal, name: str | None, loose: bool) -> None:
    """Remove the environment NAME (or --orphans) from the cache; it is built again when needed."""
    from convkit.engine.isolation import named

    if (name is None) == (not loose):
        raise UsageError("say which environment to remove", hint=f"{HINT}, or --orphans.")
    kit, known, strays = _survey()
    if name is None:
        folders = [o.folder for o in strays]
    else:
        ours = [d.folder for d in named(name, known)]
        folders = [f for f in ours if (kit.builder.root / f).is_dir()]
    removed = []
    for folder in folders:
        size = kit.builder.remove(folder)
        terminal.say(f"removed {folder} ({human_bytes(size)})")
        removed.append({"folder": folder, "size_bytes": size})
    if not removed:
        terminal.say(f"{name} is not built" if name else "there are no orphans")
    terminal.document({"removed": removed})


@command.command(name="why")
@click.argument("name", shell_complete=_names)
@with_terminal
def why(terminal: Terminal, name: str) -> None:
    """Say which edges need the environment NAME, and what keeps it apart from the main one."""
    from convkit.codec import encode
    from convkit.engine.isolation import named, reasons

    kit, known, _ = _survey()
    documents = []
    for item in named(name, known):
        found = reasons(item.spec, kit.environment, kit.builder)
        terminal.say(f"{name}, of plugin {item.plugin}, is {item.state}")
        for edge in item.edges:
            converter = kit.registry.converters[edge]
            terminal.say(f"  needed by {edge}: {converter.source} -> {converter.target}")
        if found.python:
            terminal.say(f"  it is for Python {item.spec.python}; convkit runs on {found.python}")
        excluding = [p for p in found.pins if p.holders]
        differing = [p for p in found.pins if not p.holders]
        if excluding:
            terminal.say()
            terminal.say("These versions exclude each other:")
            terminal.table(
                ("distribution", "locked", "installed", "because"),
                [(p.name, p.locked, p.installed, "; ".join(p.holders)) for p in excluding],
            )
        if differing:
            pairs = ", ".join(f"{p.name} {p.locked} ({p.installed})" for p in differing)
            terminal.say(f"  of another version than here, to which nobody objects: {pairs}")
        if found.missing:
            few, more = found.missing[:LISTED_MISSING], len(found.missing) - LISTED_MISSING
            tail = f" and {more} more" if more > 0 else ""
            terminal.say(f"  not installed here: {', '.join(few)}{tail}")
        if not found.pins and not found.python:
            terminal.say("  no locked version contradicts what is installed here today")
        documents.append({**_document(item), **encode(found)})
    terminal.document({"environments": documents})


def _survey() -> tuple[Kit, tuple[Declared, ...], tuple[Orphan, ...]]:
    from convkit.engine.isolation import declared, orphans
    from convkit.kit import Kit

    kit = Kit()
    known = declared(kit.registry, kit.builder)
    return kit, known, orphans(known, kit.builder)


def _build(kit: Kit, item: Declared, view: ProgressView) -> dict[str, object]:
    """Build one, shown as a stage with its phases."""
    import time

    from convkit.engine.environments import size_on_disk
    from convkit.events import StageFinished, StageProgress, StageStarted

    name, start = item.spec.name, time.perf_counter()
    view(StageStarted(name, f"environment {name}"))
    try:
        kit.builder.ensure(item.spec, lambda phase: view(StageProgress(name, phase, None)))
    except BaseException:
        view(StageFinished(name, "failed", time.perf_counter() - start))
        raise
    seconds = time.perf_counter() - start
    size = size_on_disk(kit.builder.root / item.folder)
    view(StageFinished(name, "done", seconds, human_bytes(size)))
    return {
        **_document(item),
        "state": "built",
        "size_bytes": size,
        "outcome": "done",
        "seconds": seconds,
    }


def _document(item: Declared) -> dict[str, object]:
    return {
        "name": item.spec.name,
        "plugin": item.plugin,
        "python": item.spec.python,
        "lock": item.digest,
        "state": item.state,
        "reason": item.fault,
        "size_bytes": item.size_bytes,
        "folder": item.folder,
        "edges": list(item.edges),
    }


def _orphan(item: Orphan) -> dict[str, object]:
    return {"folder": item.folder, "size_bytes": item.size_bytes}
