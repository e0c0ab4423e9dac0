"""`convkit formats`: the nodes of the graph."""

from __future__ import annotations

import click

from convkit.cli.common import with_terminal
from convkit.cli.terminal import Terminal


@click.command(name="formats")
@with_terminal
def command(terminal: Terminal) -> None:
    """List formats, their precisions and suffixes."""
    from convkit.plugin.manager import PluginManager
    from convkit.plugin.registry import Registry

    formats = sorted(Registry(PluginManager.discover()).formats.values(), key=lambda f: f.id)
    terminal.table(
        ("format", "precisions", "on disk", "what"),
        [
            (
                f.id,
                ", ".join(f.precisions),
                ", ".join(f.suffixes) or f"a folder <name>{f.directory_suffix}",
                f.title,
            )
            for f in formats
        ],
    )
    terminal.say()
    terminal.say("A target is a format with a precision: tflite, tflite-fp16, tflite-int8, ...")
    terminal.document(
        {
            "formats": [
                {
                    "id": f.id,
                    "title": f.title,
                    "suffixes": list(f.suffixes),
                    "directory_suffix": f.directory_suffix,
                    "precisions": list(f.precisions),
                }
                for f in formats
            ]
        }
    )
