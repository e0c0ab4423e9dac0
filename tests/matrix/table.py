"""The matrix as a page of the documentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.results import put, read

PAGE = Path("docs/reference/conversion-matrix.md")
MARK = "<!-- cells: python -m tests.matrix table --write -->"


def page(path: Path) -> str:
    """A section a model: its cells, then why others are empty and what was left on the way."""
    models: dict[str, list[dict[str, Any]]] = {}
    for result in read(path):
        models.setdefault(result["model"], []).append(result)
    return "\n\n".join(_section(name, results) for name, results in models.items())


def _section(name: str, results: list[dict[str, Any]]) -> str:
    lines = [
        f"## {name}",
        "",
        "| from | to | parity | seconds | size | by |",
        "|---|---|---|---|---|---|",
    ]
    empty, left = [], []
    for result in results:
        pair = f"{result['source']} -> {result['target']}"
        if "verdict" not in result:
            empty.append(f"- {pair}: {_short(result['reason'])}")
            continue
        lines.append(_row(result))
        left += [f"- {pair}: {_short(f)}" for f in result["failed"]]
    if empty:
        lines += ["", "Empty, and why:", "", *empty]
    if left:
        lines += ["", "Tried first, and left:", "", *left]
    return "\n".join(lines)


def _row(result: dict[str, Any]) -> str:
    exact = result["sqnr_db"] is None
    parity = "equal" if exact else f"{result['sqnr_db']:.0f} dB"
    if result["verdict"] != "ok":
        parity += f" ({result['verdict']})"
    cells = [
        result["source"],
        result["target"],
        parity,
        f"{result['seconds']:.1f}",
        f"{result['size_bytes'] / 1e6:.2f} MB",
        ", ".join(result["path"]),
    ]
    return "| " + " | ".join(cells) + " |"


def _short(text: str) -> str:
    plain = text.partition("Full log:")[0].replace("<", "&lt;").replace("|", "\\|").rstrip("; ")
    return plain if len(plain) <= 220 else plain[:217] + "..."


def show(path: Path, *, write: bool) -> None:
    """Print the page's tables, or put them into the documentation."""
    text = page(path)
    if not write:
        print(text)
        return
    put(PAGE, MARK, text)
