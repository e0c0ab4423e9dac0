"""The command line: parses, calls the API, and owns the terminal."""

from __future__ import annotations


def main() -> None:
    """Entry point of the `convkit` script."""
    import gc

    gc.set_threshold(50_000)  # starting up allocates much and frees nothing: fewer vain searches

    from convkit.cli.app import run

    raise SystemExit(run())
