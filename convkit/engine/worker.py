"""The parent's side of a worker: start it, ask it, watch it, kill it.

See `docs/adr/0002-workers.md` for why this is not execnet, loky or multiprocessing.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convkit import errors
from convkit.engine.store import STALE_SECONDS
from convkit.errors import ConversionError, ConvkitError, WorkerError

MAIN = Path(__file__).with_name("worker_main.py")
START_SECONDS = 60.0
POLL_SECONDS = 0.05
MEMORY_POLL_SECONDS = 0.5
LOG_TAIL_BYTES = 2000

QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "HF_HUB_OFFLINE": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "3000",
    "ORT_DISABLE_TELEMETRY": "1",
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Environment variables of every worker: quiet logs, and no network at run time.

OpenMP threads that spin as long as they wait made torch up to 40 times slower on a busy machine of
two cores, and threads that sleep at once up to 3 times slower on an idle one. Those of libgomp,
which torch brings on Linux, spin for a while here; those of other OpenMP libraries sleep.

ONNX Runtime reports to its maker from 1.29 on, unless told not to before it is imported.
"""

TEMPORARY = ("TMPDIR", "TORCHINDUCTOR_CACHE_DIR")
"""Variables that name a worker's own folder for temporary files, which is gone with the worker:
it is killed, so what frameworks would tidy up at exit would stay."""

PREFIX = "convkit-worker-"
"""Of these folders; the process that removes them follows."""


@dataclass(frozen=True)
class Limits:
    """What one request may use.

    Attributes:
        seconds: wall-clock time, None for no limit.
        megabytes: resident memory of the worker and its children, None for no limit.
    """

    seconds: float | None = None
    megabytes: int | None = None


class Worker:
    """One interpreter, kept alive over many requests."""

    def __init__(
        self, python: Path, packages: Mapping[str, str], sys_path: Sequence[str], log: Path
    ) -> None:
        """Start it.

        Args:
            python: the interpreter.
            packages: package name to folder, importable there whatever its own path is.
            sys_path: put before the interpreter's own path; empty for isolated environments.
            log: where output goes between requests.
        """
        self._messages: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._numbers = itertools.count()
        self._log = log
        setup = {
            "parent": os.getpid(),
            "packages": dict(packages),
            "sys_path": list(sys_path),
            "log": str(log),
        }
        self._temporary = tempfile.TemporaryDirectory(
            prefix=f"{PREFIX}{os.getpid()}-", ignore_cleanup_errors=True
        )
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        environment |= {**QUIET, **dict.fromkeys(TEMPORARY, self._temporary.name)}
        self._process = subprocess.Popen(
            [str(python), "-s", str(MAIN), json.dumps(setup)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log.open("ab"),
            env=environment,
            start_new_session=True,
            encoding="utf-8",
        )
        threading.Thread(target=self._read, daemon=True).start()
        self._ready = False

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id, which is also its group's."""
        return self._process.pid

    def request(
        self,
        op: str,
        arguments: Mapping[str, Any],
        *,
        log: Path | None = None,
        limits: Limits = Limits(),
        progress: Callable[[str, float | None], None] = lambda phase, fraction: None,
    ) -> Any:
        """Ask and wait for the answer.

        Raises:
            ConvkitError: what the operation raised there, with its hint.
            WorkerError: the process crashed, hung or took too much memory. It is then gone.
        """
        if not self._ready:
            self._await(None, START_SECONDS, None, progress)
            self._ready = True
        number = next(self._numbers)
        message = {
            "id": number,
            "op": op,
            "arguments": dict(arguments),
            "log": str(log or self._log),
        }
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
            return self._await(number, limits.seconds, limits.megabytes, progress, log)
        except OSError as error:
            raise self._crashed(log) from error
        except BaseException as error:
            if not isinstance(error, ConvkitError):  # Ctrl-C among them
                self.kill()
            raise

    def kill(self) -> None:
        """End the process and everything that it started."""
        if self._process.returncode is None:  # while it is not reaped, its group's id is its own
            if hasattr(os, "killpg"):
                # of a group of zombies, macOS says that it may not be signalled
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        self._process.wait()
        self._temporary.cleanup()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                self._messages.put(json.loads(line))
            except ValueError:
                break  # the channel is broken: treated as a crash
        self._messages.put(None)

    def _await(
        self,
        number: int | None,
        seconds: float | None,
        megabytes: int | None,
        progress: Callable[[str, float | None], None],
        log: Path | None = None,
    ) -> Any:
        start = last_look = time.monotonic()
        while True:
            now = time.monotonic()
            if seconds is not None and now - start > seconds:
                self.kill()
                raise WorkerError(
                    f"the worker did not finish within {seconds:g} s and was stopped",
                    hint="Raise the limit with --timeout. " + self._log_hint(log),
                )
            if megabytes is not None and now - last_look > MEMORY_POLL_SECONDS:
                last_look = now
                used = self._resident_megabytes()
                if used > megabytes:
                    self.kill()
                    raise WorkerError(
                        f"the worker used {used} MB of memory; {megabytes} MB are allowed",
                        hint="Raise the limit with --memory-limit. " + self._log_hint(log),
                    )
            try:
                message = self._messages.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if message is None:
                raise self._crashed(log)
            if message["kind"] == "ready" and number is None:
                return message
            if message.get("id") != number:
                continue
            if message["kind"] == "progress":
                progress(message["phase"], message["fraction"])
            elif message["kind"] == "result":
                return message["result"]
            elif message["kind"] == "error":
                raise _revive(message["error"], self._log_hint(log))

    def _resident_megabytes(self) -> int:
        import psutil

        try:
            process = psutil.Process(self._process.pid)
            family = [process, *process.children(recursive=True)]
            return int(sum(p.memory_info().rss for p in family if p.is_running()) / 1e6)
        except psutil.Error:
            return 0

    def _crashed(self, log: Path | None) -> WorkerError:
        self.kill()
        code = self._process.returncode
        how = f"exit code {code}"
        if code < 0:
            try:
                how = signal.Signals(-code).name
            except ValueError:
                how = f"signal {-code}"
        reason = f"the worker crashed ({how})"
        if code == -signal.SIGKILL:
            reason += "; the system may have run out of memory"
        tail = self._tail(log)
        return WorkerError(
            reason, hint=(f"Last output: {tail}. " if tail else "") + self._log_hint(log)
        )

    def _log_hint(self, log: Path | None) -> str:
        return f"Full log: {log or self._log}"

    def _tail(self, log: Path | None) -> str:
        try:
            with (log or self._log).open("rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - LOG_TAIL_BYTES))
                lines = file.read().decode("utf-8", "replace").strip().splitlines()
        except OSError:
            return ""
        return lines[-1][:300] if lines else ""


class RemoteTraceback(Exception):
    """Carries the worker's traceback as the cause of an error, for `--debug`."""


def _revive(error: Mapping[str, Any], log_hint: str) -> ConvkitError:
    """The worker's exception as one of ours."""
    cls = getattr(errors, error["type"], None) if error["module"] == "convkit.errors" else None
    revived: ConvkitError
    if error["full"]:  # another road would meet the same disk
        revived = errors.PublishError(
            "no space is left on the disk",
            hint="Free some space, or point CONVKIT_CACHE (or -o) at another disk.",
        )
    elif isinstance(cls, type) and issubclass(cls, ConvkitError):
        revived = cls(error["message"], hint=error["hint"])
        if error["cause"]:
            revived.detail = error["cause"]
    else:
        first = (error["message"].strip().splitlines() or [""])[0][:300]
        kind = error["type"]
        revived = ConversionError(f"{kind}: {first}" if first else kind, hint=log_hint)
    revived.__cause__ = RemoteTraceback("\n" + error["traceback"])
    return revived


def sweep() -> None:
    """Remove the temporary folders of runs that were killed a day ago or earlier: a process that is
    not seen here may live in another container."""
    import psutil

    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        pid = folder.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdigit() and psutil.pid_exists(int(pid)):
            continue
        with contextlib.suppress(FileNotFoundError):  # its run has just finished
            if time.time() - folder.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def main_interpreter() -> Path:
    """The interpreter that runs this process."""
    return Path(sys.executable)
