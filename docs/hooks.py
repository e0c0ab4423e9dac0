"""Reference pages that are made from the program itself at every build, so that they never differ.

A page holds a line `<!-- generated: NAME -->`, which a function of `GENERATORS` replaces.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

WIDTH = 96
MARKER = re.compile(r"^<!-- generated: ([a-z-]+) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """MkDocs calls this for every page."""
    return MARKER.sub(lambda match: GENERATORS[match.group(1)](), markdown)


def command_line() -> str:
    """`--help` of every command, as click prints it."""
    from convkit.cli.app import group

    context = group.make_context("convkit", [], resilient_parsing=True, terminal_width=WIDTH)
    return "\n\n".join(_help(group, context, "#"))


def _help(command: Any, context: Any, level: str) -> Iterator[str]:
    """The help of a command, then of its subcommands one heading deeper."""
    yield _block(command.get_help(context))
    for name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        child = command.get_command(context, name)
        assert child is not None
        inner = child.make_context(
            name, [], parent=context, resilient_parsing=True, terminal_width=WIDTH
        )
        yield f"{level}# {inner.command_path}"
        yield from _help(child, inner, level + "#")


def exit_codes() -> str:
    """Every exit code with the errors that lead to it."""
    from convkit import errors

    classes = [c for c in vars(errors).values() if isinstance(c, type)]
    kinds = [c for c in classes if issubclass(c, errors.ConvkitError)]
    rows = []
    for code in errors.ExitCode:
        names = [f"`{c.__name__}`" for c in kinds if c.exit_code == code]
        rows.append((str(int(code)), f"`{code.name}`", ", ".join(names) or "no error"))
    return _table(("code", "name", "errors of the Python interface"), rows)


def formats() -> str:
    """Formats of the core and of the plugins that are installed where this is built."""
    rows = []
    for home in sorted(_registry().formats.values(), key=lambda f: f.id):
        place = ", ".join(f"`{s}`" for s in home.suffixes)
        states = ", ".join(
            f"`{home.id}`" if p == "fp32" else f"`{home.id}-{p}`" for p in home.precisions
        )
        rows.append((home.title, states, place or f"a folder `<name>{home.directory_suffix}`"))
    return _table(("format", "states", "on disk"), rows)


def edges() -> str:
    """Edges with what they need and give, and their options."""
    from convkit.engine.traits import describe

    rows = []
    for edge in sorted(_registry().converters.values(), key=lambda e: (e.source, e.target)):
        where = f"isolated: {edge.isolated.name}" if edge.isolated else "main"
        needs = "; ".join(describe(r) for r in edge.requires)
        options = "; ".join(f"`{o.name}={o.default}` {o.help}" for o in edge.options)
        rows.append(
            (f"`{edge.name}`", f"`{edge.source}`", f"`{edge.target}`", where, needs, options)
        )
    return _table(("edge", "from", "to", "environment", "requires", "options"), rows)


def tolerances() -> str:
    """The tolerances that judge a hop."""
    from convkit.verification import TOLERANCES

    rows = [(f"`{p}`", f"{t.floor:g} dB", f"{t.target:g} dB") for p, t in TOLERANCES.items()]
    return _table(("precision", "wrong below", "as good as expected from"), rows)


GENERATORS = {
    "command-line": command_line,
    "exit-codes": exit_codes,
    "formats": formats,
    "edges": edges,
    "tolerances": tolerances,
}


def _registry() -> Any:
    from convkit.plugin.manager import PluginManager
    from convkit.plugin.registry import Registry

    registry = Registry(PluginManager.discover())
    if registry.broken:
        raise RuntimeError(
            f"a plugin is broken, so its part of the reference is missing: {registry.broken}"
        )
    return registry


def _block(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def lines() -> Iterator[str]:
        yield "| " + " | ".join(header) + " |"
        yield "|" + " --- |" * len(header)
        for row in rows:
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"

    return "\n".join(lines())
