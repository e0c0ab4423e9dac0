"""`python -m tests.models [NAME ...]`: train what is not there yet, and print where it lies."""

from __future__ import annotations

import sys

from tests.models import NAMES, model


def main() -> int:
    """Train the named models, or all."""
    names = sys.argv[1:] or list(NAMES)
    unknown = [n for n in names if n not in NAMES]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    for name in names:
        print(f"{name}: {model(name)}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
