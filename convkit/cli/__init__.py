"""The command line: parses, calls the API, and owns the terminal."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the `convkit` script."""
    import gc

    gc.set_threshold(50_000)  # starting up allocates much and frees nothing: fewer vain searches

    try:
        from convkit.cli.app import run

        code = run()
    except KeyboardInterrupt:  # while modules are loaded, or while `run` says goodbye
        sys.stderr.write("error: interrupted\n")
        code = 130
    raise SystemExit(code)
