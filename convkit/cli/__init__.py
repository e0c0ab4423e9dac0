"""The command line: parses, calls the API, and owns the terminal."""

from __future__ import annotations


def main() -> None:
    """Entry point of the `convkit` script."""
    from convkit.cli.app import run

    raise SystemExit(run())
