"""Building isolated environments: once, whole, resumable, and with pip's settings."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from convkit.engine import environments
from convkit.engine.environments import READY, EnvironmentBuilder
from convkit.engine.isolation import locked_versions
from convkit.environment import IsolatedEnvironment
from convkit.errors import EnvironmentBuildError
from tests.support import tiny_environment as tiny

MINE = f"{sys.version_info[0]}.{sys.version_info[1]}"
BUILD = """
import sys
from pathlib import Path
from convkit.engine.environments import EnvironmentBuilder
from convkit.environment import IsolatedEnvironment
spec = IsolatedEnvironment("tiny", sys.argv[2], "tinytool==1.0")
EnvironmentBuilder(Path(sys.argv[1])).ensure(spec, lambda text: print(text, flush=True))
"""
"""A convkit that can be killed."""


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> IsolatedEnvironment:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    made = tiny.wheel(wheels, "tinytool", "1.0")
    for name, value in tiny.settings(tmp_path, made).items():
        monkeypatch.setenv(name, value)
    return IsolatedEnvironment("tiny", MINE, "tinytool==1.0")


@pytest.fixture
def slow_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A uv that stops in `uv pip` until the returned file exists."""
    gate, real = tmp_path / "gate", environments.find_uv()
    if os.name != "posix" or real is None:
        pytest.skip("a shell script stands in for uv")
    script = tmp_path / "bin" / "uv"
    script.parent.mkdir()
    wait = f'while [ ! -e "{gate}" ]; do sleep 0.05; done'
    script.write_text(
        f'#!/bin/sh\nif [ "$1" = pip ]; then echo Downloading tinytool; {wait}; fi\n'
        f'exec "{real}" "$@"\n'
    )
    script.chmod(0o755)
    blocker = tmp_path / "blocker"  # an `uv` package without a binary: PATH decides
    (blocker / "uv").mkdir(parents=True)
    (blocker / "uv" / "__init__.py").write_text("raise ImportError\n")
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", f"{blocker}{os.pathsep}{Path(__file__).parents[2]}")
    yield gate
    gate.touch()


def test_built_once_and_whole(spec: IsolatedEnvironment, tmp_path: Path) -> None:
    builder = EnvironmentBuilder(tmp_path / "envs")
    said: list[str] = []
    python = builder.ensure(spec, said.append)
    program = "import tinytool; print(tinytool.VERSION)"
    answer = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout == "1.0\n"
    assert "building environment tiny" in said[0]
    mark = builder.folder(spec) / READY
    written = mark.stat().st_mtime_ns
    assert builder.ensure(spec, said.append) == python
    assert mark.stat().st_mtime_ns == written
    assert builder.fault(spec) == ""


def test_a_half_built_one_is_built_anew(spec: IsolatedEnvironment, tmp_path: Path) -> None:
    builder = EnvironmentBuilder(tmp_path / "envs")
    stray = builder.folder(spec) / "lib" / "stray"
    stray.mkdir(parents=True)
    assert not builder.built(spec)
    builder.ensure(spec, lambda text: None)
    assert builder.built(spec)
    assert not stray.exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_build_is_taken_up(
    spec: IsolatedEnvironment, slow_uv: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """A killed convkit leaves its uv behind; the next one waits for that before it writes."""
    root = tmp_path / "envs"
    command = [sys.executable, "-c", BUILD, str(root), MINE]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        # a job runner may ignore it, and so would the child
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    assert any("Downloading tinytool" in line for line in process.stdout), "progress is told"
    process.send_signal(number)
    process.wait()
    builder = EnvironmentBuilder(root)
    assert not builder.built(spec)
    said: list[str] = []

    def tell(text: str) -> None:
        said.append(text)
        if "waiting for uv" in text:
            threading.Timer(0.3, slow_uv.touch).start()

    if number == signal.SIGINT:  # takes its uv along, though not the `sleep` that the script ran
        slow_uv.touch()
        time.sleep(1.0)
    builder.ensure(spec, tell)
    assert builder.built(spec)
    waited = any("waiting for uv" in text for text in said)
    assert waited == (number == signal.SIGKILL)


def test_what_is_being_built_is_not_removed(spec: IsolatedEnvironment, tmp_path: Path) -> None:
    from filelock import FileLock

    builder = EnvironmentBuilder(tmp_path / "envs")
    builder.ensure(spec, lambda text: None)
    name = builder.folder(spec).name
    with (
        FileLock(builder.root / f"{name}.lock"),
        pytest.raises(EnvironmentBuildError, match="being built"),
    ):
        builder.remove(name)
    assert builder.built(spec)
    assert builder.remove(name) > 0
    assert not builder.built(spec)


def test_space_is_checked_beforehand(
    spec: IsolatedEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=900_000_000))
    builder = EnvironmentBuilder(tmp_path / "envs")
    with pytest.raises(EnvironmentBuildError, match="900 MB are free") as caught:
        builder.ensure(spec, lambda text: None)
    assert "CONVKIT_CACHE" in caught.value.hint
    assert not builder.folder(spec).exists()


def test_pip_settings_reach_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("PIP_")]:
        monkeypatch.delenv(name)
    config = tmp_path / "pip.conf"
    config.write_text(
        "[global]\nindex-url = https://main.example/simple\n"
        "extra-index-url =\n  https://one.example/simple\n  https://two.example/simple\n"
        "[install]\nfind-links = /some/wheels\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    arguments = environments._pip_settings()
    pairs = list(zip(arguments[::2], arguments[1::2], strict=True))
    assert ("--find-links", "/some/wheels") in pairs
    assert ("--index-url", "https://main.example/simple") in pairs
    extra = [value for flag, value in pairs if flag == "--extra-index-url"]
    assert extra == ["https://one.example/simple", "https://two.example/simple"]
    assert ("--index-strategy", "unsafe-best-match") in pairs


def test_without_an_extra_index_uv_keeps_its_own_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    if "--extra-index-url" in (given := environments._pip_settings()):
        pytest.skip("this machine's site configuration has an extra index")
    assert "--index-strategy" not in given


def test_pins_of_a_lock() -> None:
    lock = (
        "# a comment\n--find-links wheels\nOne_Thing==1.2 \\\n    --hash=sha256:00 \\\n"
        "    --hash=sha256:11\ntwo===3.0 # why\nthree @ file:///three.whl\nfour>=1\n"
        "five==1 ; python_version >= '3.9'\nsix==1 ; python_version >= '3.10'\n"
    )
    spec = IsolatedEnvironment("x", "3.9", lock)
    assert dict(locked_versions(spec)) == {"one-thing": "1.2", "two": "3.0", "five": "1"}
