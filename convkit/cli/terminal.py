"""The one owner of stdout and stderr.

stdout carries the document of `--json` and nothing else; people read stderr. rich is imported only
where something moves or is coloured: listing commands must start fast.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from convkit.errors import ConvkitError, ExitCode, GateError


class Terminal:
    """What a command says, and how loudly.

    Attributes:
        verbosity: -1 quiet (errors only), 0 normal, 1 verbose.
    """

    def __init__(self, *, as_json: bool = False, verbosity: int = 0, debug: bool = False) -> None:
        self.as_json = as_json
        self.verbosity = verbosity
        self.debug = debug

    @property
    def interactive(self) -> bool:
        """Whether a person watches: progress may move."""
        return sys.stderr.isatty() and self.verbosity >= 0 and os.environ.get("TERM") != "dumb"

    @property
    def coloured(self) -> bool:
        """Whether colours are welcome."""
        return sys.stderr.isatty() and "NO_COLOR" not in os.environ

    def say(self, text: str = "", *, style: str = "") -> None:
        """A line for people."""
        if self.verbosity >= 0:
            print(self._paint(style, plain(text)), file=sys.stderr)

    def detail(self, text: str) -> None:
        """A line for people who asked for more."""
        if self.verbosity > 0:
            self.say(text)

    def warn(self, text: str) -> None:
        """A line that stands out."""
        self.say(f"warning: {text}", style="33")

    def document(self, document: Any) -> None:
        """The machine-readable answer, if it was asked for."""
        if self.as_json:
            print(json.dumps(document, indent=1), flush=True)

    def table(
        self, header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()
    ) -> None:
        """Columns aligned by spaces; `right` lists the right-aligned ones."""
        lines = [list(header), *[list(row) for row in rows]]
        widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
        for number, line in enumerate(lines):
            cells = [
                cell.rjust(width) if i in right else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ]
            text = "  ".join(cells).rstrip()
            self.say(text, style="" if number else "1")

    def error(
        self, message: str, hint: str, code: int, document: Mapping[str, object] | None = None
    ) -> None:
        """An error: always shown, as JSON too if that was asked for, beside what else there is."""
        message, hint = plain(message), plain(hint)
        print(self._paint("31", "error: ") + message, file=sys.stderr)
        if hint:
            print(f"hint: {hint}", file=sys.stderr)
        error = {"message": message, "hint": hint, "exit_code": int(code)}
        self.document({"error": error, **(document or {})})

    def failure(self, error: ConvkitError) -> None:
        """An error of the tree, with what the tool itself said."""
        if self.debug:
            self.traceback(error)
        message = error.message
        first = (error.detail.strip().splitlines() or [""])[0][:300]
        if first and first.partition(": ")[2] not in message:
            message = f"{message} ({first})"
        document = error.document if isinstance(error, GateError) else None
        self.error(message, error.hint, ExitCode(error.exit_code), document)

    def traceback(self, error: BaseException) -> None:
        """The whole story, for --debug."""
        import traceback

        traceback.print_exception(error, file=sys.stderr)

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if code and self.coloured else text


def plain(text: str) -> str:
    """Text without control sequences: messages of tools carry colours, and names in a hostile file
    could carry anything."""
    import re

    text = re.sub(r"\x1b\[[0-9;?]*[ -/]*[@-~]", "", text)
    return "".join(c for c in text if c.isprintable() or c in "\n\t")


def human_bytes(count: int) -> str:
    """`1.83 MB`, decimal units."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.2f} {unit}"
        size /= 1000
    return f"{size:.2f} GB"


def human_seconds(seconds: float) -> str:
    """`0.42 s`, `12.3 s`, `3 min 05 s`."""
    if seconds >= 60:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
