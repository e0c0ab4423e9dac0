"""The program that runs inside a worker: any interpreter, standard library only.

Started as `python worker_main.py <json>`. Reads one JSON request a line from its original
standard input and answers one JSON message a line on its original standard output; both are moved
away at start, so that whatever a framework prints lands in the hop's log. It dies with its parent:
by a kernel signal on Linux, and everywhere when the request pipe closes.
"""

from __future__ import annotations

import errno
import importlib
import importlib.util
import json
import os
import signal
import sys
import threading
import traceback
from typing import Any

PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


def main() -> None:
    """Serve requests until the pipe closes."""
    setup = json.loads(sys.argv[1])
    if sys.platform == "linux":
        _die_with_parent(setup["parent"])
    requests = os.fdopen(os.dup(0), "r", encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    _log_to(setup["log"])
    sys.path[:0] = setup["sys_path"]
    sys.meta_path.insert(0, _PackageFinder(setup["packages"]))
    queue: list[dict[str, Any]] = []
    ready = threading.Condition()

    def read() -> None:
        for line in requests:
            with ready:
                queue.append(json.loads(line))
                ready.notify()
        _die()  # the parent is gone, or has no more work

    threading.Thread(target=read, daemon=True).start()
    lock = threading.Lock()

    def send(message: dict[str, Any]) -> None:
        with lock:
            answers.write(json.dumps(message) + "\n")
            answers.flush()

    send({"kind": "ready", "python": sys.version.split()[0], "pid": os.getpid()})
    while True:
        with ready:
            while not queue:
                ready.wait()
            request = queue.pop(0)
        _serve(request, send)


def _serve(request: dict[str, Any], send: Any) -> None:
    number = request["id"]
    _log_to(request["log"])

    def progress(phase: str, fraction: float | None = None) -> None:
        send({"kind": "progress", "id": number, "phase": phase, "fraction": fraction})

    try:
        operations = importlib.import_module("convkit.engine.worker_ops")
        result = getattr(operations, "op_" + request["op"])(request["arguments"], progress)
    except BaseException as error:  # a framework may raise anything, SystemExit included
        send({"kind": "error", "id": number, "error": _describe(error)})
    else:
        send({"kind": "result", "id": number, "result": result})
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _describe(error: BaseException) -> dict[str, Any]:
    cause = error.__cause__
    return {
        "type": type(error).__name__,
        "module": type(error).__module__,
        "message": getattr(error, "message", None) or str(error),
        "hint": getattr(error, "hint", ""),
        "full": _disk_is_full(error),
        "cause": f"{type(cause).__name__}: {cause}" if cause is not None else "",
        "traceback": "".join(traceback.format_exception(error)),
    }


def _disk_is_full(error: BaseException | None) -> bool:
    """Whether that is the reason, however deep: tools and plugins wrap it in errors of their own,
    and compiled ones leave nothing of it but the system's words."""
    words = os.strerror(errno.ENOSPC)
    while error is not None:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return True
        if words in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _log_to(path: str) -> None:
    """Send file descriptors 1 and 2, and so every library's output, to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def _die_with_parent(parent: int) -> None:
    import ctypes

    ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the call took effect
        _die()


def _die() -> None:
    """End this process and whatever it started."""
    if hasattr(os, "killpg") and os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


class _PackageFinder:
    """Finds convkit and plugin packages by their folders, without putting those folders' parents
    (the main environment's site-packages) on the path of an isolated environment."""

    def __init__(self, packages: dict[str, str]) -> None:
        self._packages = packages

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        folder = self._packages.get(name)
        if folder is None:
            return None
        return importlib.util.spec_from_file_location(
            name, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
        )


if __name__ == "__main__":
    main()
