"""`python -m tests.benchmarks [NAME ...]`."""

from __future__ import annotations

import sys
from importlib import import_module

NAMES = ("startup", "overhead", "sharing", "verification", "accuracy", "frozen")


def main() -> int:
    """Run the named benchmarks, or all."""
    names = sys.argv[1:] or list(NAMES)
    unknown = [n for n in names if n not in NAMES]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    results = [import_module(f"tests.benchmarks.{name}").main() for name in names]
    return 0 if all(results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
