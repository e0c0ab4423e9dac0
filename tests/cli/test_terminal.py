"""On a terminal: hops move while they run, colours unless unwanted, and the cursor comes back."""

from __future__ import annotations

import os
import re
import select
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import everything, start, survivors, until, workers
from tests.cli.conftest import Models

fcntl: Any = pytest.importorskip("fcntl")
termios: Any = pytest.importorskip("termios")

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
COLOUR = re.compile(r"\x1b\[[0-9;]*(?:3[0-7]|38|9[0-7])[0-9;]*m")
PATIENCE = 120.0


@dataclass(frozen=True)
class Watched:
    """What a person at the terminal saw."""

    code: int
    text: str
    pid: int


def watch(
    *arguments: str | Path, cwd: Path, env: Mapping[str, str | None], interrupt: bool = False
) -> Watched:
    """Run a command on a terminal of its own; press Ctrl-C once its worker runs."""
    ours, theirs = os.openpty()

    def own_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = start(
        *arguments,
        cwd=cwd,
        env={"TERM": "xterm-256color", "NO_COLOR": None, "COLUMNS": "120", **env},
        prepare=own_terminal,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    if interrupt:
        until(lambda: workers(process.pid), PATIENCE)
        time.sleep(0.5)
        os.write(ours, b"\x03")
    try:
        text = _read(ours, time.monotonic() + PATIENCE)
        code = process.wait(timeout=10)
    finally:
        process.kill()
        os.close(ours)
    return Watched(code, text, process.pid)


def _read(terminal: int, deadline: float) -> str:
    """All that is shown until the other end is closed."""
    seen = b""
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 0.2)[0]:
            continue
        try:
            part = os.read(terminal, 65536)
        except OSError:  # Linux's way to say that nobody has it open any more
            break
        if not part:
            break
        seen += part
    return seen.decode()


def test_progress_moves_and_the_terminal_is_left_tidy(fresh_model: Path, tmp_path: Path) -> None:
    seen = watch("convert", fresh_model, "--to", "onnx", "-o", "out", cwd=tmp_path, env={})
    assert seen.code == 0, seen.text
    assert HIDE in seen.text
    assert seen.text.rindex(SHOW) > seen.text.rindex(HIDE)
    assert "torch -> onnx by torch.onnx-dynamo" in seen.text
    assert seen.text.count("\x1b[2K") > 10, "lines are drawn anew while a hop runs"
    assert "exporting" in seen.text, "the phase is shown"
    assert COLOUR.search(seen.text)
    assert "wrote out/fresh.onnx" in seen.text


def test_no_color(models: Models, tmp_path: Path) -> None:
    seen = watch(*("convert", models.torch, "--to", "tflite"), cwd=tmp_path, env={"NO_COLOR": "1"})
    assert seen.code == 0, seen.text
    assert not COLOUR.search(seen.text)


def test_dumb_terminal(models: Models, tmp_path: Path) -> None:
    seen = watch(
        *("convert", models.torch, "--to", "tflite"),
        cwd=tmp_path,
        env={"NO_COLOR": "1", "TERM": "dumb"},
    )
    assert seen.code == 0, seen.text
    assert "\x1b" not in seen.text


def test_ctrl_c(fresh_model: Path, empty_cache: Path, tmp_path: Path) -> None:
    seen = watch(
        *("convert", fresh_model, "--to", "tflite", "-o", "out"),
        cwd=tmp_path,
        env={},
        interrupt=True,
    )
    assert seen.code == 130, seen.text
    assert "interrupted" in seen.text
    assert "Traceback" not in seen.text
    assert seen.text.rindex(SHOW) > seen.text.rindex(HIDE)
    assert not survivors(seen.pid)
    assert everything(tmp_path / "out") == []
