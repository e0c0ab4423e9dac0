"""Events as something to look at: moving lines on a terminal, one line per stage elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from convkit.cli.terminal import Terminal, human_seconds
from convkit.events import Event, Notice, StageFinished, StageProgress, StageStarted

MARKS = {"done": "done", "cached": "cached", "failed": "FAILED"}


class ProgressView:
    """A listener; use it as a context manager so that the terminal is left tidy."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._titles: dict[str, str] = {}
        self._tasks: dict[str, Any] = {}
        self._bar: Any = None

    def __enter__(self) -> ProgressView:
        if self._terminal.interactive:
            from rich.console import Console
            from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            self._bar = Progress(
                SpinnerColumn(finished_text=" "),
                TextColumn("{task.description}"),
                TimeElapsedColumn(),
                TextColumn("[dim]{task.fields[phase]}"),
                console=Console(stderr=True, no_color=not self._terminal.coloured),
            )
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if isinstance(event, Notice):
            self._notice(event)
        elif isinstance(event, StageStarted):
            self._titles[event.key] = event.title
            if self._bar is not None:
                title = _escape(event.title)
                self._tasks[event.key] = self._bar.add_task(title, total=1, phase="")
        elif isinstance(event, StageProgress):
            if self._bar is not None and event.key in self._tasks:
                self._bar.update(self._tasks[event.key], phase=_escape(event.phase))
            elif self._terminal.verbosity > 0:
                self._terminal.detail(f"    {event.phase}")
        elif isinstance(event, StageFinished):
            self._finish(event)

    def _notice(self, event: Notice) -> None:
        if event.level == "debug":
            self._terminal.detail(event.message)
        elif event.level == "warning":
            self._terminal.warn(event.message)
        else:
            self._terminal.say(event.message)

    def _finish(self, event: StageFinished) -> None:
        mark = MARKS.get(event.outcome, event.outcome)
        summary = ", ".join(x for x in (mark, event.detail) if x)
        if self._bar is not None and event.key in self._tasks:
            self._bar.update(self._tasks.pop(event.key), completed=1, phase=_escape(summary))
        else:
            title = self._titles.get(event.key, "")
            self._terminal.say(f"{title}  [{summary}; {human_seconds(event.seconds)}]")


def _escape(text: str) -> str:
    """rich reads square brackets as markup."""
    return text.replace("[", r"\[")
