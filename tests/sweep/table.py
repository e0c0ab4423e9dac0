"""The counts of a sweep, as text and as a page of the documentation."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.results import put, read
from tests.sweep.cases import cases
from tests.sweep.trial import SILENT

PAGE = Path("docs/reference/sweep.md")
MARK = "<!-- counts: python -m tests.sweep table --write -->"
LARGE = "light"
"""What onnx calls its whole networks, whose weights it leaves out."""


def latest(path: Path) -> list[dict[str, Any]]:
    """One result for each case and edge: the last one, where a case was tried again."""
    return list({(r["edge"], r["case"]): r for r in read(path)}.values())


def is_wrong(result: dict[str, Any]) -> bool:
    """Handed out, and not what the case expects."""
    return bool(result["ours"]["outcome"] == "wrong")


def is_silent(result: dict[str, Any]) -> bool:
    """Wrong, and convkit called it good."""
    return is_wrong(result) and result["ours"]["verdict"] == SILENT


def is_lost(result: dict[str, Any]) -> bool:
    """What the tool does right by hand and convkit does not."""
    return bool(result["bare"]["outcome"] == "correct" != result["ours"]["outcome"])


COLUMNS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "cases": lambda r: True,
    "correct": lambda r: r["ours"]["outcome"] == "correct",
    "refused": lambda r: r["ours"]["outcome"] == "refused",
    "wrong": is_silent,
    "doubted": lambda r: is_wrong(r) and not is_silent(r),
    "not reached": lambda r: r["ours"]["outcome"] == "unreached",
    "correct by hand": lambda r: r["bare"]["outcome"] == "correct",
    "wrong by hand": lambda r: r["bare"]["outcome"] == "wrong",
    "lost": is_lost,
}


def complete(path: Path) -> list[dict[str, Any]]:
    """The results of whole samples, each with the row of the table that it belongs to.

    Of each edge all cases, or every second, or third, and so on, whichever is the most that has
    been tried; what was tried beyond that would tilt the counts. Whole networks take minutes, so
    they are a row of their own, as many as there are.
    """
    tried = {(r["edge"], r["case"]): r for r in latest(path)}
    small, whole = [], []
    for case in cases():
        (whole if case.kind == LARGE else small).append(case.name)
    chosen = []
    for edge in sorted({edge for edge, _ in tried}):
        for every in range(1, len(small)):
            sample = [tried.get((edge, name)) for name in small[::every]]
            if all(sample):
                share = "all" if every == 1 else f"one in {every}"
                chosen += [{**r, "row": f"{edge} | {share}"} for r in sample if r]
                break
    for edge in sorted({edge for edge, _ in tried}):
        sample = [tried[edge, name] for name in whole if (edge, name) in tried]
        row = f"{edge}, whole networks | {len(sample)} of {len(whole)}"
        chosen += [{**r, "row": row} for r in sample]
    return chosen


def counts(results: list[dict[str, Any]]) -> str:
    """A Markdown table: an edge a row."""
    lines = [f"| edge | tried | {' | '.join(COLUMNS)} |", "|---" * (2 + len(COLUMNS)) + "|"]
    for row in dict.fromkeys(r["row"] for r in results):
        own = [r for r in results if r["row"] == row]
        cells = [sum(map(holds, own)) for holds in COLUMNS.values()]
        lines.append(f"| {row} | " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def named(results: list[dict[str, Any]]) -> str:
    """What is wrong, what is doubted and what is lost, by name; and why."""
    sections = {
        "Wrong and not noticed": is_silent,
        "Handed out in doubt": lambda r: is_wrong(r) and not is_silent(r),
    }
    lines = []
    for title, holds in sections.items():
        found = [f"`{r['case']}` ({r['edge']})" for r in results if holds(r)]
        lines.append(f"{title}: {', '.join(found) or 'none'}.")
    lost: dict[tuple[str, str], list[str]] = {}
    for result in results:
        if is_lost(result):
            lost.setdefault((result["edge"], _gist(result["ours"]["reason"])), []).append(
                result["case"]
            )
    lines.append("\n| edge | lost | reason | such as |\n|---|---|---|---|")
    lines[-1] += "".join(
        f"\n| {edge} | {len(cases)} | {gist} | `{cases[0]}` |"
        for (edge, gist), cases in sorted(
            lost.items(), key=lambda item: (item[0][0], -len(item[1]))
        )
    )
    return "\n\n".join(lines[:-1]) + "\n" + lines[-1]


def _gist(reason: str) -> str:
    """A reason without what differs from case to case, so that alike ones are counted as one."""
    text = re.sub(r"test_\w+(\.onnx)?|\S*\d\S*|\S*/\S*", "...", reason.partition(" Turned down")[0])
    text = re.sub(r"(\W*\.\.\.)+", " ...", text).replace("|", "/")
    return " ".join(text.split())[:120]


def show(path: Path, *, write: bool) -> None:
    """Print counts and names; put them into the documentation."""
    results = complete(path)
    text = f"{counts(results)}\n\n{named(results)}"
    print(text)
    if write:
        put(PAGE, MARK, text)
