"""Isolated environments: built once with uv under convkit's cache, offline afterwards."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from convkit.environment import IsolatedEnvironment
from convkit.errors import EnvironmentBuildError

READY = "convkit-ready"
SPARE_MB = 1000


class EnvironmentBuilder:
    """Builds and finds environments under one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, spec: IsolatedEnvironment) -> Path:
        """Where the environment lives; another lock or Python is another folder."""
        identity = hashlib.sha256(f"{spec.python}\n{spec.lock}".encode()).hexdigest()[:12]
        return self._root / f"{spec.name}-{identity}"

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
        from filelock import FileLock

        self._root.mkdir(parents=True, exist_ok=True)
        with FileLock(self._root / f"{folder.name}.lock"):
            if not self.built(spec):
                self._build(spec, folder, say)
        return _python_in(folder)

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
        shutil.rmtree(folder, ignore_errors=True)
        log = self._root / f"{folder.name}.log"
        lock = self._root / f"{folder.name}.txt"
        lock.write_text(spec.lock, "utf-8")
        # Workers write no bytecode, so it is made now: TensorFlow then imports three times faster.
        install = [uv, "pip", "install", "--compile-bytecode"]
        install += ["--python", str(_python_in(folder)), "-r", str(lock)]
        with log.open("wb") as output:
            for command in (
                [uv, "venv", "--python", str(python), str(folder)],
                [*install, *_pip_settings()],
            ):
                code = subprocess.run(
                    command,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL,
                    env=_uv_environment(),
                    check=False,
                ).returncode
                if code:
                    tail = log.read_text("utf-8", "replace").strip().splitlines()[-3:]
                    raise EnvironmentBuildError(
                        f"the environment {spec.name} could not be built: {' '.join(tail)}",
                        hint=f"Full log: {log}. Running the same command again resumes.",
                    )
        (folder / READY).write_text(spec.name, "utf-8")


def _python_in(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def find_python(version: str) -> Path | None:
    """An interpreter of a `major.minor` version: this one if it fits, else one on PATH."""
    if platform.python_version().startswith(f"{version}."):
        return Path(sys.executable)
    found = shutil.which(f"python{version}")
    if found is None:
        return None
    probe = [found, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    try:  # shims of version managers may be there without working
        answer = subprocess.run(probe, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return Path(found) if answer.stdout.strip() == version else None


def find_uv() -> str | None:
    """The uv binary: of the distribution that convkit depends on, else on PATH."""
    try:
        from uv import find_uv_bin

        return find_uv_bin()
    except (ImportError, FileNotFoundError):
        return shutil.which("uv")


def _pip_settings() -> list[str]:
    """uv does not read pip's settings; a user's mirror and wheel folders are passed on."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found: dict[str, list[str]] = {}
    for line in answer.splitlines():
        key, _, value = line.partition("=")
        name = key.rpartition(".")[2]
        if name in ("find-links", "index-url"):
            found.setdefault(name, []).extend(value.strip("'\"").split())
    arguments = [a for v in dict.fromkeys(found.get("find-links", [])) for a in ("--find-links", v)]
    for index in found.get("index-url", [])[:1]:
        arguments += ["--index-url", index]
    return arguments


def _uv_environment() -> dict[str, str]:
    environment = {**os.environ, "UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never"}
    if "PIP_CERT" in environment:
        environment.setdefault("SSL_CERT_FILE", environment["PIP_CERT"])
    return environment
