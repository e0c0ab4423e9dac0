"""`convkit plugins`: who offers what, and who is broken."""

from __future__ import annotations

import click

from convkit.cli.common import with_terminal
from convkit.cli.terminal import Terminal


@click.command(name="plugins")
@with_terminal
def command(terminal: Terminal) -> None:
    """List plugins, their edges and options, and the ones that failed to load."""
    from convkit.codec import encode
    from convkit.plugin.manager import PluginManager
    from convkit.plugin.registry import Registry

    registry = Registry(PluginManager.discover())
    terminal.table(
        ("plugin", "distribution", "version"),
        [(p.name, p.distribution or "-", p.version or "-") for p in registry.plugins],
    )
    terminal.say()
    edges = sorted(registry.converters.values(), key=lambda c: (str(c.source), str(c.target)))
    terminal.table(
        ("edge", "from", "to", "environment"),
        [
            (c.name, str(c.source), str(c.target), c.isolated.name if c.isolated else "main")
            for c in edges
        ],
    )
    for edge in edges:
        for option in edge.options:
            terminal.detail(f"  {edge.name}.{option.name}={option.default}  {option.help}")
    for broken in registry.broken:
        terminal.warn(f"plugin {broken.name} ({broken.distribution or '?'}): {broken.reason}")
    terminal.document(
        {
            "plugins": [
                {
                    "name": p.name,
                    "target": p.target,
                    "distribution": p.distribution,
                    "version": p.version,
                }
                for p in registry.plugins
            ],
            "broken": encode(registry.broken),
            "converters": [
                {
                    "name": c.name,
                    "source": str(c.source),
                    "target": str(c.target),
                    "environment": c.isolated.name if c.isolated else "",
                    "requirements": list(c.requirements),
                    "options": encode(c.options),
                }
                for c in edges
            ],
            "runners": sorted(registry.runners),
            "metrics": sorted(registry.metrics),
            "samples": sorted(registry.samples),
        }
    )
