"""Runs inside workers: an operation of the engine, under observation. Standard library only.

Importing this module (by the worker's own `load` operation) adds the operation `observed` to that
worker. Python's writes are seen by an audit hook wherever they go; writes of native code are seen
by the caller, who compares the watched folders before and after. What a child process writes
elsewhere is seen by neither.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

from convkit.engine import worker_main, worker_ops

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
MAKES = {"os.mkdir": 0, "os.rename": 1, "os.link": 1, "os.symlink": 1}
"""Audit events that make a path appear, and which argument the path is."""
CHANGES = {"os.truncate": 0, "os.chmod": 0, "os.chown": 0}
TAKES = {"os.remove": 0, "os.rmdir": 0, "os.rename": 0}
"""Audit events that make a path disappear."""
DIRECTORY_ARGUMENT = {
    "os.mkdir": 2,
    "os.rename": 3,
    "os.link": 3,
    "os.symlink": 2,
    "os.chmod": 2,
    "os.chown": 3,
    "os.remove": 1,
    "os.rmdir": 1,
}
"""Where an event carries the descriptor of the folder that its path is relative to."""


class _Recorder:
    """Collects paths while `active`; audit hooks can never be removed."""

    def __init__(self) -> None:
        self.active = False
        self.written: dict[str, None] = {}
        self.removed: dict[str, None] = {}
        self.variables: set[str] = set()

    def start(self) -> None:
        """Forget the operation before and listen."""
        self.written, self.removed, self.variables = {}, {}, set()
        self.active = True

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.active:
            return
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & WRITING:
                self._note(self.written, path, -1)
            return
        if event in ("os.putenv", "os.unsetenv"):
            if not _importing():
                self.variables.add(os.fsdecode(arguments[0]))
            return
        where = DIRECTORY_ARGUMENT.get(event)
        folder = arguments[where] if where is not None and where < len(arguments) else -1
        if event in TAKES:
            name = _absolute(arguments[TAKES[event]], folder)
            if name and name not in self.written:  # its own temporary file is its own business
                self.removed[name] = None
        if event == "os.mkdir" and os.path.lexists(_absolute(arguments[0], folder)):
            return  # it will fail: `makedirs` asks for what is there
        for table in (MAKES, CHANGES):
            if event in table:
                self._note(self.written, arguments[table[event]], folder)

    def _note(self, table: dict[str, None], path: Any, folder: Any) -> None:
        name = _absolute(path, folder)
        if name:
            table[name] = None


def _importing() -> bool:
    """Whether a module is being imported: frameworks may set variables then."""
    frame = sys._getframe(2)
    while frame.f_back is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _absolute(path: Any, folder: Any) -> str:
    """An absolute path; empty for a descriptor, or where it cannot be told."""
    if isinstance(path, int) or path is None:
        return ""
    name = os.fsdecode(path)
    if isinstance(folder, int) and folder >= 0 and not os.path.isabs(name):
        try:
            return os.path.join(os.readlink(f"/proc/self/fd/{folder}"), name)
        except OSError:
            return ""
    return os.path.abspath(name)


_recorder = _Recorder()
sys.addaudithook(_recorder)


def op_observed(arguments: Mapping[str, Any], progress: worker_ops.Progress) -> Any:
    """Run `arguments["inner"]` in a private folder and tell what it did besides.

    Answers a mapping: `result`, or `error` as the worker describes it (with `typed`: whether it is
    a `ConvkitError`); `written` and `removed` paths; `phases`; `faults` in the calls of
    `progress`; `changes` of the process (variables that an import set are left out).
    """
    _settle(arguments["home"], arguments["temporary"])
    phases: list[str] = []
    faults: list[str] = []

    def listen(phase: Any, fraction: Any = None) -> None:
        sound = isinstance(phase, str) and phase.strip()
        known = fraction is None or (isinstance(fraction, int | float) and 0 <= fraction <= 1)
        if sound and known:
            phases.append(phase)
            progress(phase, fraction)
        else:
            faults.append(f"progress({phase!r}, {fraction!r})")

    before = _state()
    answer: dict[str, Any] = {"result": None, "error": None}
    _recorder.start()
    try:
        answer["result"] = getattr(worker_ops, f"op_{arguments['inner']}")(arguments, listen)
    except BaseException as error:
        from convkit.errors import ConvkitError

        answer["error"] = {
            **worker_main._describe(error),
            "typed": isinstance(error, ConvkitError),
            "kinds": [kind.__name__ for kind in type(error).__mro__],
        }
    finally:
        _recorder.active = False
    after = _state()
    return {
        **answer,
        "written": list(_recorder.written),
        "removed": list(_recorder.removed),
        "phases": phases,
        "faults": faults,
        "changes": [
            f"{name}: {before.get(name)!r} became {after.get(name)!r}"
            for name in sorted({*before, *after})
            if before.get(name) != after.get(name)
            and (not name.startswith("$") or name[1:] in _recorder.variables)
        ],
    }


def _settle(home: str, temporary: str) -> None:
    """Work in private folders, so that everything that appears there is this operation's."""
    os.environ["TMPDIR"] = tempfile.tempdir = temporary
    os.chdir(home)


def _state() -> dict[str, str]:
    mask = os.umask(0)
    os.umask(mask)
    variables = {f"${name}": value for name, value in os.environ.items()}
    return {**variables, "working folder": os.getcwd(), "umask": oct(mask)}


worker_ops.op_observed = op_observed  # type: ignore[attr-defined]
