"""Results of long runs: lines of JSON that are appended to, and tables in the documentation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The results so far; a line that a killed run left half-written is passed over."""
    if not path.exists():
        return
    for line in path.read_text("utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def put(page: Path, mark: str, text: str) -> None:
    """Replace what stands behind the mark in a page."""
    head, found, _ = page.read_text("utf-8").partition(mark)
    page.write_text(f"{head}{found}\n\n{text}\n", "utf-8")
