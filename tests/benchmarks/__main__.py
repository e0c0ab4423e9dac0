"""`python -m tests.benchmarks [NAME ...]`, or one NAME with options of its own."""

from __future__ import annotations

import sys
from importlib import import_module

NAMES = (
    "startup",
    "overhead",
    "sharing",
    "verification",
    "accuracy",
    "frozen",
    "integers",
    "transformer",
    "verdicts",
    "agreement",
    "ranking",
    "waiting",
    "repair",
)
LONG = ("prediction", "regret", "cost", "quality", "avx2")
"""Only run where they are named: each trains models first, and takes up to an hour."""


def main() -> int:
    """Run the named benchmarks, or all but the long ones."""
    place = next((i for i, word in enumerate(sys.argv) if word.startswith("-")), len(sys.argv))
    names, options = sys.argv[1:place] or list(NAMES), sys.argv[place:]
    known = (*NAMES, *LONG)
    unknown = [n for n in names if n not in known]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    if options and len(names) > 1:
        print(f"{' '.join(options)}: options are for one benchmark", file=sys.stderr)
        return 2
    given = [options] if options else []
    results = [import_module(f"tests.benchmarks.{name}").main(*given) for name in names]
    return 0 if all(results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
