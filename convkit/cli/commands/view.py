"""`convkit view`: look at a model's graph."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import click

from convkit.cli.common import with_terminal
from convkit.cli.terminal import Terminal


@click.command(name="view")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default=True,
    help="Where to listen, on this machine only; 0: any free one.",
)
@click.option("--no-browser", is_flag=True, help="Print the address and open nothing.")
@with_terminal
def command(terminal: Terminal, model: Path, port: int, no_browser: bool) -> None:
    """Open MODEL in netron, in the browser, until Ctrl-C.

    Everything stays on this machine: the page may reach no other address, and what netron itself
    would tell its makers is not sent.
    """
    from convkit.report.viewer import viewer

    try:
        with viewer(model, port) as address:
            terminal.say(f"{model} is shown at {address}")
            terminal.say("Ctrl-C ends it.")
            terminal.document({"model": str(model), "url": address})
            if not no_browser and _has_screen():
                import webbrowser

                webbrowser.open(address)
            threading.Event().wait()
    except KeyboardInterrupt:
        terminal.say()


def _has_screen() -> bool:
    """Whether a browser would open a window; on a machine without one, a browser in the terminal
    would take it over."""
    if sys.platform in ("win32", "darwin"):
        return "SSH_CONNECTION" not in os.environ
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
