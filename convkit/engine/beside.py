"""Runs that go on beside other work: in a copy of the worker that shares its memory and has its
frameworks imported already. Part of the worker; standard library only."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from convkit.engine.worker_main import die_with_parent

PATIENCE_SECONDS = 10.0
"""A run that is asked for before it is done is waited for as long again as it has had, and no
longer than this: a framework may hang in a forked process, and is then run as usual."""
POLL_SECONDS = 0.002


@dataclass(frozen=True)
class _Run:
    process: int
    begun: float
    path: Path


_runs: dict[str, _Run] = {}


def begin(key: str, work: Callable[[Path], None]) -> bool:
    """Begin work that writes a file.

    Returns:
        False where processes cannot be copied; nothing was begun then.
    """
    if sys.platform != "linux":  # macOS's own libraries do not survive a fork
        return False
    path = Path(tempfile.mkdtemp()) / "outputs"
    worker = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        process = os.fork()
    except OSError:  # no memory, or too many processes
        return False
    if process:
        _runs[key] = _Run(process, time.monotonic(), path)
        return True
    code = 1
    try:
        die_with_parent(worker)
        os.environ.get("NICE") and os.nice(19)
        work(path)
        code = 0
    finally:
        os._exit(code)


def collect(key: str, path: Path) -> bool:
    """Move the file of a run that was begun to its place.

    Returns:
        False where none was, or it failed: whoever asks does the work, and meets the error.
    """
    run = _runs.pop(key, None)
    if run is None:
        return False
    try:
        if not _finished(run):
            return False
        shutil.move(run.path, path)
        return True
    finally:
        shutil.rmtree(run.path.parent, ignore_errors=True)


def _finished(run: _Run) -> bool:
    """Wait for it, within reason."""
    now = time.monotonic()
    end = now + min(now - run.begun, PATIENCE_SECONDS)
    while True:
        process, status = os.waitpid(run.process, os.WNOHANG)
        if process:
            return os.waitstatus_to_exitcode(status) == 0
        if time.monotonic() > end:
            with contextlib.suppress(ProcessLookupError):
                os.kill(run.process, signal.SIGKILL)
            os.waitpid(run.process, 0)
            return False
        time.sleep(POLL_SECONDS)
