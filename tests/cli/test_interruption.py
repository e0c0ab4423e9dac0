"""Ctrl-C, and the gentler kind of kill: a word, exit code 130, and nothing left behind."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.cli.commands import (
    Answer,
    everything,
    finish,
    run,
    start,
    still_running,
    until,
    workers,
)
from tests.cli.conftest import Models

INTERRUPTED = 130


def assert_interrupted(answer: Answer, parent: int, cache: Path, folder: Path) -> None:
    assert answer.code == INTERRUPTED, answer.err
    assert answer.err.count("error: ") == 1
    assert "error: interrupted" in answer.err
    assert "Traceback" not in answer.err
    assert answer.out == ""
    assert not answer.workers
    assert everything(folder) == []
    assert not list((cache / "staging").glob(f"{parent}-*")), "half-made things are removed"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminate"])
@pytest.mark.parametrize("phase", ["starting", "reading", "converting"])
def test_in_the_middle(
    phase: str, number: signal.Signals, fresh_model: Path, empty_cache: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = start("convert", fresh_model, "--to", "tflite", "-o", out, cwd=tmp_path)
    if phase == "starting":
        time.sleep(0.25)
        until(lambda: (empty_cache / "staging").exists())
    else:
        until(lambda: workers(process.pid), 60)
    if phase == "converting":
        log = empty_cache / "logs" / "litert-torch.tflite-convert.log"
        until(log.exists, 60)
        time.sleep(0.5)
    children = psutil.Process(process.pid).children(recursive=True)
    assert process.poll() is None, "it was too quick to be interrupted"
    os.killpg(process.pid, number)
    begun = time.monotonic()
    answer = finish(process)
    assert time.monotonic() - begun < 20, "it must stop at once"
    assert_interrupted(answer, process.pid, empty_cache, out)
    assert not still_running(children)


def test_a_killed_run_leaves_no_worker_and_its_rest_is_swept(
    fresh_model: Path, models: Models, empty_cache: Path, tmp_path: Path
) -> None:
    process = start("convert", fresh_model, "--to", "tflite", "-o", "out", cwd=tmp_path)
    until(lambda: workers(process.pid), 60)
    process.kill()  # nothing can be tidied up after this
    answer = finish(process)
    assert answer.code == -signal.SIGKILL
    assert not answer.workers, "workers die with their parent"
    (empty_cache / "staging" / f"{process.pid}-rest").mkdir(exist_ok=True)
    assert run("inspect", models.tflite, cwd=tmp_path).code == 0
    assert everything(empty_cache / "staging") == []
