"""Isolated environments: built once with uv under convkit's cache, offline afterwards."""

from __future__ import annotations

import ast
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from convkit.environment import IsolatedEnvironment
from convkit.errors import EnvironmentBuildError

if TYPE_CHECKING:
    from filelock import BaseFileLock

READY = "convkit-ready"
SPARE_MB = 1000
COMPANIONS = (".lock", ".log", ".txt")
"""Files beside an environment's folder: who builds it, what uv said, what uv was given."""
LOOK_SECONDS = 0.5
"""How often a build is looked at for progress."""


class EnvironmentBuilder:
    """Builds and finds environments under one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    @property
    def root(self) -> Path:
        """The folder of all environments; it may not exist yet."""
        return self._root

    def folder(self, spec: IsolatedEnvironment) -> Path:
        """Where the environment lives; another lock or Python is another folder."""
        return self._root / f"{spec.name}-{lock_digest(spec)}"

    def built(self, spec: IsolatedEnvironment) -> bool:
        """Whether it is there and complete."""
        return (self.folder(spec) / READY).is_file()

    def fault(self, spec: IsolatedEnvironment) -> str:
        """Why it cannot be had on this machine; empty if it can."""
        if self.built(spec):
            return ""
        if find_python(spec.python) is None:
            return (
                f"needs Python {spec.python} for its environment, and none was found; "
                f"install one and put python{spec.python} on PATH"
            )
        if find_uv() is None:
            return "needs uv to build its environment: python -m pip install uv"
        return ""

    def ensure(self, spec: IsolatedEnvironment, say: Callable[[str], None]) -> Path:
        """The interpreter of the environment, which is built first where it is missing.

        Raises:
            EnvironmentBuildError: no Python of that version, no space, or uv failed.
        """
        folder = self.folder(spec)
        if self.built(spec):
            return _python_in(folder)
        self._root.mkdir(parents=True, exist_ok=True)
        with self._guard(folder.name):
            if not self.built(spec):
                self._build(spec, folder, say)
        return _python_in(folder)

    def remove(self, folder_name: str) -> int:
        """Remove an environment's folder and what lies beside it; answers the bytes on disk.

        Raises:
            EnvironmentBuildError: it is being built just now, or cannot be removed.
        """
        from filelock import Timeout

        folder = self._root / folder_name
        try:
            with self._guard(folder_name, patience=0):
                size = size_on_disk(folder)
                # first the mark, so that a removal cut short leaves nothing that looks complete
                (folder / READY).unlink(missing_ok=True)
                if folder.is_dir():
                    shutil.rmtree(folder)
                for suffix in COMPANIONS:
                    (self._root / f"{folder_name}{suffix}").unlink(missing_ok=True)
        except Timeout as error:
            raise EnvironmentBuildError(
                f"{folder_name} is being built by another convkit",
                hint="Wait for it to finish, or stop it, then remove.",
            ) from error
        except OSError as error:
            raise EnvironmentBuildError(
                f"{folder} cannot be removed: {error.strerror}", hint="Close what still uses it."
            ) from error
        return size

    def _guard(self, folder_name: str, patience: float = -1) -> BaseFileLock:
        from filelock import FileLock

        return FileLock(self._root / f"{folder_name}.lock", timeout=patience)

    def _build(self, spec: IsolatedEnvironment, folder: Path, say: Callable[[str], None]) -> None:
        python, uv = find_python(spec.python), find_uv()
        if python is None or uv is None:
            raise EnvironmentBuildError(
                f"the environment {spec.name} cannot be built", hint=self.fault(spec)
            )
        free = shutil.disk_usage(self._root).free // 1_000_000
        if free < spec.size_mb + SPARE_MB:
            raise EnvironmentBuildError(
                f"the environment {spec.name} takes {spec.size_mb} MB and {free} MB are free",
                hint="Free some space, or point CONVKIT_CACHE at another disk.",
            )
        say(f"building environment {spec.name} (once; about {spec.seconds} s, {spec.size_mb} MB)")
        log = self._root / f"{folder.name}.log"
        lock = self._root / f"{folder.name}.txt"
        lock.write_text(spec.lock, "utf-8")
        # Workers write no bytecode, so it is made now: TensorFlow then imports three times faster.
        install = [uv, "pip", "install", "--compile-bytecode"]
        install += ["--python", str(_python_in(folder)), "-r", str(lock)]
        with _log(log, say) as output:
            shutil.rmtree(folder, ignore_errors=True)  # half-built; uv's own cache is what resumes
            for command in (
                [uv, "venv", "--python", str(python), str(folder)],
                [*install, *_pip_settings()],
            ):
                if _watched(command, output, log, folder, say):
                    tail = log.read_text("utf-8", "replace").strip().splitlines()[-3:]
                    raise EnvironmentBuildError(
                        f"the environment {spec.name} could not be built: {' '.join(tail)}",
                        hint=f"Full log: {log}. Running the same command again resumes.",
                    )
        (folder / READY).write_text(spec.name, "utf-8")


def lock_digest(spec: IsolatedEnvironment) -> str:
    """What tells environments of one name apart: their Python and their lock."""
    return hashlib.sha256(f"{spec.python}\n{spec.lock}".encode()).hexdigest()[:12]


def size_on_disk(folder: Path) -> int:
    """Bytes of all files in a folder; links are not followed. 0 where there is none."""
    return sum(
        os.lstat(os.path.join(place, name)).st_size
        for place, _, names in os.walk(folder)
        for name in names
    )


def site_packages(folder: Path) -> tuple[Path, ...]:
    """Where an environment's distributions lie; empty where it is not there."""
    return (*folder.glob("lib/python*/site-packages"), *folder.glob("Lib/site-packages"))


@contextmanager
def _log(path: Path, say: Callable[[str], None]) -> Iterator[IO[bytes]]:
    """The log of a build, emptied. It is uv's stdout, so a lock on it lasts as long as uv does,
    even where the convkit that started it was killed: two never write one environment."""
    with path.open("ab") as output:
        if os.name == "posix":
            import fcntl

            try:
                fcntl.flock(output, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("waiting for uv, which an interrupted build left behind")
                fcntl.flock(output, fcntl.LOCK_EX)
        output.truncate(0)
        yield output


def _watched(
    command: list[str], output: IO[bytes], log: Path, folder: Path, say: Callable[[str], None]
) -> int:
    """Run uv, saying what it does when that changes; answers its exit code."""
    process = subprocess.Popen(
        command,
        stdout=output,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        env=_uv_environment(),
    )
    said = ""
    try:
        while True:
            try:
                return process.wait(LOOK_SECONDS)
            except subprocess.TimeoutExpired:
                phase = _phase(log, folder)
                if phase != said:
                    say(phase)
                    said = phase
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _phase(log: Path, folder: Path) -> str:
    """How far uv is: packages there already, else the last thing that it said."""
    there = sum(1 for place in site_packages(folder) for _ in place.glob("*.dist-info"))
    if there:
        return f"{there} packages installed"
    lines = log.read_text("utf-8", "replace").strip().splitlines()
    return lines[-1].strip()[:100] if lines else "starting uv"


def _python_in(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def find_python(version: str) -> Path | None:
    """An interpreter of a `major.minor` version: this one if it fits, else one on PATH. Where that
    is a shim of pyenv, what pyenv keeps comes first: the shim fails where the version is not
    switched on, and takes ten times as long to say so. Every plan asks, so it is looked at once."""
    return _found_python(version, os.environ.get("PATH", ""))


@functools.cache
def _found_python(version: str, search: str) -> Path | None:
    if platform.python_version().startswith(f"{version}."):
        return Path(sys.executable)
    found = shutil.which(f"python{version}")
    if found is None:
        return None
    shim = Path(found)
    kept = sorted(shim.parent.parent.glob(f"versions/{version}.*/bin/{shim.name}"), reverse=True)
    return next((path for path in (*kept, shim) if _is_python(path, version)), None)


def _is_python(path: Path, version: str) -> bool:
    probe = [str(path), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    try:
        answer = subprocess.run(probe, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.stdout.strip() == version


def find_uv() -> str | None:
    """The uv binary: of the distribution that convkit depends on, else on PATH."""
    try:
        from uv import find_uv_bin

        return find_uv_bin()
    except (ImportError, FileNotFoundError):
        return shutil.which("uv")


def _pip_settings() -> list[str]:
    """uv does not read pip's settings; a user's mirrors and wheel folders are passed on."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found: dict[str, list[str]] = {}
    for line in answer.splitlines():
        key, _, value = line.partition("=")
        name = key.rpartition(".")[2]
        if name in ("find-links", "index-url", "extra-index-url"):
            found.setdefault(name, []).extend(_spelled(value).split())
    arguments = [a for v in dict.fromkeys(found.get("find-links", [])) for a in ("--find-links", v)]
    for index in found.get("index-url", [])[:1]:
        arguments += ["--index-url", index]
    extra = list(dict.fromkeys(found.get("extra-index-url", [])))
    arguments += [a for v in extra for a in ("--extra-index-url", v)]
    if extra:
        # pip looks at all indexes alike. uv stops at the first that knows the name, where the
        # locked version may be missing.
        arguments += ["--index-strategy", "unsafe-best-match"]
    return arguments


def _spelled(value: str) -> str:
    """`pip config list` prints values as Python spells them, with line ends as `\\n`."""
    try:
        return str(ast.literal_eval(value))
    except (ValueError, SyntaxError):
        return value


def _uv_environment() -> dict[str, str]:
    environment = {**os.environ, "UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never"}
    if "PIP_CERT" in environment:
        environment.setdefault("SSL_CERT_FILE", environment["PIP_CERT"])
    return environment
