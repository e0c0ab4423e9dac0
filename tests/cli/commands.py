"""Start convkit in a process of its own and see what it says, writes and leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

PROGRAM = (sys.executable, "-m", "convkit")
PATIENCE = 240.0
ESCAPE = "\x1b"


@dataclass(frozen=True)
class Answer:
    """A finished command; `workers` are the processes of its own that outlived it."""

    code: int
    out: str
    err: str
    workers: tuple[int, ...]

    @property
    def document(self) -> Any:
        """What `--json` printed; fails unless stdout is exactly one strict JSON document."""
        return json.loads(self.out, parse_constant=_refuse)


def start(
    *arguments: str | Path,
    cwd: Path,
    env: Mapping[str, str | None] | None = None,
    prepare: Callable[[], None] | None = None,
    **streams: Any,
) -> subprocess.Popen[str]:
    """Start a command as the leader of its own process group, as a shell does."""

    def before() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a job runner may ignore it
        if prepare is not None:
            prepare()

    given = {**os.environ, **(env or {})}
    return subprocess.Popen(
        [*PROGRAM, *map(str, arguments)],
        cwd=cwd,
        env={name: value for name, value in given.items() if value is not None},
        text=True,
        start_new_session=True,
        preexec_fn=before,
        **{
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            **streams,
        },
    )


def run(*arguments: str | Path, cwd: Path, **settings: Any) -> Answer:
    """Run a command to its end. No terminal is attached, so escape codes are never welcome."""
    process = start(*arguments, cwd=cwd, **settings)
    return finish(process)


def finish(process: subprocess.Popen[str]) -> Answer:
    """Wait for a command's end."""
    try:
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        if process.poll() is None:
            process.kill()
    answer = Answer(process.returncode, out or "", err or "", survivors(process.pid))
    assert ESCAPE not in answer.out + answer.err
    return answer


def workers(parent: int) -> tuple[int, ...]:
    """The workers of a convkit process: each is told its parent's id on its command line."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "status"]):
        command: Iterable[str] = process.info["cmdline"] or ()
        if (
            any(part.endswith("worker_main.py") for part in command)
            and any(f'"parent": {parent},' in part for part in command)
            and process.info["status"] != psutil.STATUS_ZOMBIE
        ):
            found.append(process.info["pid"])
    return tuple(found)


def survivors(parent: int) -> tuple[int, ...]:
    """Workers that are still there shortly after their parent ended."""
    deadline = time.monotonic() + 5
    while (left := workers(parent)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def still_running(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those that run on shortly after they were to end. A killed process whose parent died as well
    stays in the table until init collects it, which is nobody's fault."""
    deadline = time.monotonic() + 5
    left = list(processes)
    while (left := [p for p in left if not _ended(p)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def _ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def until(condition: Callable[[], Any], seconds: float = PATIENCE) -> None:
    """Wait for something to become true.

    Raises:
        TimeoutError: it did not.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it did not happen in time")
        time.sleep(0.02)


def everything(folder: Path) -> list[str]:
    """All that lies in a folder, hidden files among it; nothing where there is no such folder."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


def assert_refused(answer: Answer, code: int, *words: str, hint: str = "") -> None:
    """One clear error with a hint and its exit code, and no process left."""
    lines = answer.err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    hints = [line for line in lines if line.startswith("hint: ")]
    assert answer.code == code, answer.err
    assert len(errors) == 1, answer.err
    assert len(hints) == 1, answer.err
    assert "Traceback" not in answer.err
    assert "internal error" not in answer.err
    for word in words:
        assert word in errors[0], answer.err
    assert hint in answer.err[answer.err.index("hint: ") :]
    assert not answer.workers, "a worker outlived its parent"


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
