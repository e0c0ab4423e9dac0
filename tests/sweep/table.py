"""The counts of a sweep, as text and as a page of the documentation."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from tests.support.results import put, read

PAGE = Path("docs/reference/sweep.md")
MARK = "<!-- counts: python -m tests.sweep table --write -->"
OUTCOMES = ("correct", "refused", "wrong", "unreached")


def counts(path: Path) -> str:
    """A Markdown table: an edge a row."""
    by_edge: dict[str, list[dict[str, Any]]] = {}
    for result in read(path):
        by_edge.setdefault(result["edge"], []).append(result)
    lines = [
        "| edge | cases | correct | refused | wrong | not reached "
        "| correct by hand | wrong by hand | lost |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for edge, results in by_edge.items():
        ours = Counter(r["ours"]["outcome"] for r in results)
        bare = Counter(r["bare"]["outcome"] for r in results)
        lost = len(losses(results))
        cells = [len(results), *(ours[o] for o in OUTCOMES), bare["correct"], bare["wrong"], lost]
        lines.append(f"| {edge} | " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def losses(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the tool does right by hand and convkit does not."""
    return [
        r
        for r in results
        if r["bare"]["outcome"] == "correct" and r["ours"]["outcome"] != "correct"
    ]


def show(path: Path, *, write: bool) -> None:
    """Print the counts and what was lost; put the counts into the documentation."""
    text = counts(path)
    print(text)
    for result in losses(list(read(path))):
        print(f"lost: {result['edge']} {result['case']}: {result['ours']['reason']}")
    for result in read(path):
        if result["ours"]["outcome"] == "wrong":
            print(f"WRONG: {result['edge']} {result['case']}: {result['ours']['reason']}")
    if write:
        put(PAGE, MARK, text)
