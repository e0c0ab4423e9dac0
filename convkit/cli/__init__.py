"""The command line: parses, calls the API, and owns the terminal."""

from __future__ import annotations

import os
import sys

INTERRUPTED = 130


def main() -> None:
    """Entry point of the `convkit` script."""
    import gc

    gc.set_threshold(100_000)  # starting up allocates much and frees nothing: fewer vain searches

    try:
        from convkit.cli.app import run

        code = run()
    except KeyboardInterrupt:  # while modules are loaded, or while `run` says goodbye
        sys.stderr.write("error: interrupted\n")
        code = INTERRUPTED
    if code == INTERRUPTED:
        # Where the signal came while an extension ran code of its own, Python remembers it and
        # would end itself by SIGINT, whatever the exit code.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise SystemExit(code)
