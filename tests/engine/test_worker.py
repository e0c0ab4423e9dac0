"""Workers crash, hang and talk too much without harm, and never outlive their parent."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from convkit.artifact import Artifact, State
from convkit.codec import encode
from convkit.engine.store import STALE_SECONDS
from convkit.engine.worker import PREFIX, Limits, Worker, main_interpreter, sweep
from convkit.errors import ConversionError, InputError, PublishError, WorkerError

ROOT = Path(__file__).parents[2]
PROBE = "tests.engine.probe"
SOON = 10.0


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "hop.log"


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    made = Worker(
        main_interpreter(), {}, [str(ROOT), *filter(None, sys.path)], tmp_path / "worker.log"
    )
    yield made
    made.kill()


@pytest.fixture
def do(worker: Worker, log: Path, tmp_path: Path) -> Callable[..., str]:
    def run(what: str, value: Any = "", **settings: Any) -> str:
        arguments = {
            "plugin": PROBE,
            "kind": "converters",
            "name": "probe.do",
            "artifact": encode(Artifact(tmp_path / "in", State("x"))),
            "output": str(tmp_path / "out"),
            "options": {"what": what, "value": value},
            "workdir": str(tmp_path),
            "calibration": None,
            "recipe": None,
            "seed": 0,
            "threads": 0,
        }
        return str(worker.request("convert", arguments, log=log, **settings)["digest"])

    return run


def gone(pid: int, seconds: float = SOON) -> bool:
    """Whether a process ends soon."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def test_one_interpreter_serves_many_requests(do: Callable[..., str], worker: Worker) -> None:
    assert do("pid") == do("pid") == str(worker.pid)
    assert worker.pid != os.getpid()


def test_big_messages_both_ways(do: Callable[..., str]) -> None:
    text = "ä" * 3_000_000
    assert do("echo", text) == text


def test_progress_arrives(do: Callable[..., str]) -> None:
    seen: list[tuple[str, float | None]] = []
    do("echo", "", progress=lambda phase, fraction: seen.append((phase, fraction)))
    assert seen == [("echo", 0.5)]


def test_noise_goes_into_the_log(do: Callable[..., str], log: Path) -> None:
    assert do("noise") == ""
    written = log.read_text()
    for words in ("from Python", "from stderr", "a lie", "from a child"):
        assert words in written
    assert do("echo", "still there") == "still there"


def test_standard_input_is_empty(do: Callable[..., str]) -> None:
    assert do("read-input") == "''"


@pytest.mark.parametrize(
    ("what", "value", "words"),
    [
        ("signal", int(signal.SIGABRT), "crashed (SIGABRT)"),
        ("signal", int(signal.SIGKILL), "(SIGKILL); the system may have run out of memory"),
        ("segfault", 0, "crashed (SIGSEGV)"),
        ("exit", 7, "crashed (exit code 7)"),
    ],
)
def test_crash_is_named(
    do: Callable[..., str], worker: Worker, log: Path, what: str, value: int, words: str
) -> None:
    log.write_text("the last words\n")
    with pytest.raises(WorkerError) as caught:
        do(what, value)
    assert words in caught.value.message
    assert "the last words" in caught.value.hint and str(log) in caught.value.hint
    assert not worker.alive


def test_children_of_a_crashed_worker_go_with_it(do: Callable[..., str]) -> None:
    children: list[int] = []

    def note(phase: str, fraction: float | None) -> None:
        if phase.isdigit():
            children.append(int(phase))

    with pytest.raises(WorkerError, match="SIGABRT"):
        do("child-then-abort", progress=note)
    assert children and gone(children[0])


def test_time_limit(do: Callable[..., str], worker: Worker) -> None:
    children: list[int] = []

    def note(phase: str, fraction: float | None) -> None:
        if phase.isdigit():
            children.append(int(phase))

    start = time.monotonic()
    with pytest.raises(WorkerError, match="within 1 s") as caught:
        do("hang", "with a child", limits=Limits(seconds=1), progress=note)
    assert time.monotonic() - start < SOON
    assert "--timeout" in caught.value.hint
    assert gone(worker.pid)
    assert all(gone(child) for child in children)


def test_memory_limit(do: Callable[..., str], worker: Worker) -> None:
    with pytest.raises(WorkerError, match="200 MB are allowed") as caught:
        do("memory", 400, limits=Limits(seconds=20, megabytes=200))
    assert "--memory-limit" in caught.value.hint
    assert not worker.alive


def test_our_errors_keep_type_hint_and_cause(do: Callable[..., str]) -> None:
    with pytest.raises(ConversionError) as caught:
        do("typed")
    assert (caught.value.message, caught.value.hint) == ("it failed", "try harder")
    assert caught.value.detail == "OSError: the tool's own words"
    assert "raise ConversionError" in str(caught.value.__cause__)
    with pytest.raises(InputError, match="that is no model"):
        do("input")


@pytest.mark.parametrize(
    ("what", "words"), [("bare", "KeyError"), ("sys.exit", "goodbye"), ("unwritable", "TypeError")]
)
def test_strange_errors_become_conversion_errors(
    do: Callable[..., str], what: str, words: str
) -> None:
    with pytest.raises(ConversionError, match=words) as caught:
        do(what)
    assert not isinstance(caught.value, WorkerError)
    assert do("echo", "alive") == "alive"


def test_full_disk_is_no_fault_of_the_converter(do: Callable[..., str]) -> None:
    with pytest.raises(PublishError, match="no space is left"):
        do("full")


def test_interpreter_that_is_none(tmp_path: Path) -> None:
    broken = Worker(Path(str(shutil.which("false"))), {}, [], tmp_path / "worker.log")
    with pytest.raises(WorkerError, match="exit code 1"):
        broken.request("load", {"modules": []})


PARENT = """
import sys
from pathlib import Path
from convkit.artifact import Artifact, State
from convkit.codec import encode
from convkit.engine.worker import Worker, main_interpreter

folder = Path(sys.argv[1])
worker = Worker(main_interpreter(), {}, [p for p in sys.path if p], folder / "worker.log")
arguments = {
    "plugin": "tests.engine.probe", "kind": "converters", "name": "probe.do",
    "artifact": encode(Artifact(folder / "in", State("x"))), "output": str(folder / "out"),
    "options": {"what": "hang"}, "workdir": str(folder), "calibration": None, "recipe": None,
    "seed": 0, "threads": 0,
}
try:
    worker.request("convert", arguments, progress=lambda p, f: print(worker.pid, flush=True))
except KeyboardInterrupt:
    print("interrupted", worker.alive, flush=True)
    sys.exit(130)
"""


@contextlib.contextmanager
def parent(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process with a busy worker, and the worker's id."""
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        # a job runner may ignore it, and so would the child
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    try:
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_worker_dies_with_a_killed_parent(tmp_path: Path) -> None:
    with parent(tmp_path) as (process, pid):
        assert psutil.pid_exists(pid)
        process.kill()
        process.wait()
        assert gone(pid, 5.0)


def test_interrupt_kills_the_worker_and_reaches_the_caller(tmp_path: Path) -> None:
    with parent(tmp_path) as (process, pid):
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=SOON)
        assert said == "interrupted False\n"
        assert process.returncode == 130
        assert gone(pid)


def test_temporary_files_are_gone_with_the_worker(do: Callable[..., str], worker: Worker) -> None:
    folder = Path(do("variable", "TORCHINDUCTOR_CACHE_DIR"))
    assert folder.is_dir()
    assert folder != Path(os.environ.get("TORCHINDUCTOR_CACHE_DIR", "/"))
    (folder / "left").write_text("by a tool that was killed")
    worker.kill()
    assert not folder.exists()


def test_frameworks_are_told_not_to_report(do: Callable[..., str]) -> None:
    assert do("variable", "ORT_DISABLE_TELEMETRY") == "1"


def test_only_folders_of_runs_long_dead_are_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    long_ago = time.time() - 2 * STALE_SECONDS
    for name in (f"{dead.pid}-old", f"{os.getpid()}-mine", "0nopid", f"{dead.pid}-young"):
        (tmp_path / f"{PREFIX}{name}").mkdir()
        (tmp_path / f"{PREFIX}{name}" / "kernel.so").touch()
        if not name.endswith("young"):
            os.utime(tmp_path / f"{PREFIX}{name}", (long_ago, long_ago))
    (tmp_path / "stranger").mkdir()
    sweep()
    left = {folder.name.removeprefix(PREFIX) for folder in tmp_path.iterdir()}
    assert left == {f"{os.getpid()}-mine", f"{dead.pid}-young", "stranger"}


def test_a_folder_for_temporary_files_goes_with_its_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = Worker(main_interpreter(), {}, [], tmp_path / "worker.log")
    assert [*tmp_path.glob(f"{PREFIX}{os.getpid()}-*")]
    made.kill()
    assert not [*tmp_path.glob(f"{PREFIX}*")]
