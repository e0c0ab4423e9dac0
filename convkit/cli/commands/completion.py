"""`convkit completion`: the script that a shell sources."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from convkit.cli.common import with_terminal
from convkit.cli.terminal import Terminal


@click.command(name="completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@with_terminal
def command(terminal: Terminal, shell: str) -> None:
    """Print the completion script of SHELL; for bash: eval "$(convkit completion bash)"."""
    from convkit.cli.app import group

    cls = get_completion_class(shell)
    assert cls is not None
    script = cls(group, {}, "convkit", "_CONVKIT_COMPLETE").source()
    if terminal.as_json:
        terminal.document({"shell": shell, "script": script})
    else:
        click.echo(script)  # the script is this command's document
