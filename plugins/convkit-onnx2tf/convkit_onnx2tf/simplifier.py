"""onnxsim in a process of its own that is kept.

onnx2tf starts a Python and imports onnxsim three times for each model, so that a crash of onnxsim
is none of its own. That took a second of the 1.3 seconds for a small model. One process serves as
well: it is started anew when it has crashed, and ends with the worker, whose pipe closes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_PROGRAM = Path(__file__).with_name("simplifier_main.py")


class Simplifier:
    """Simplifies files in place, as onnx2tf's own function does."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._settled: bytes | None = None

    def __call__(self, *, input_onnx_file_path: str, append_param: Sequence[str]) -> str:
        """Simplify a file in place.

        Raises:
            subprocess.CalledProcessError: onnxsim failed or crashed; the file is as it was.
        """
        source = Path(input_onnx_file_path).absolute()
        before = source.read_bytes()
        if before == self._settled and not append_param:
            return ""  # onnxsim made this of it when asked last, and would again
        staging = source.with_name(f".{source.name}.simplified.onnx")
        try:
            code = self._ask([str(source), str(staging), *append_param])
            if code or not staging.exists():
                raise subprocess.CalledProcessError(code or 1, "onnxsim")
            self._settled = before if staging.read_bytes() == before else None
            staging.replace(source)
        finally:
            staging.unlink(missing_ok=True)
        return ""

    def _ask(self, arguments: Sequence[str]) -> int:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, str(_PROGRAM)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                encoding="utf-8",
            )
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(arguments) + "\n")
            process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:  # it crashed, and the next model gets another one
            self._process = None
            process.stdin.close()
            process.stdout.close()
            return process.wait()
        return int(json.loads(answer))


_kept = Simplifier()


@contextmanager
def simplifier_kept() -> Iterator[None]:
    """Let onnx2tf use one process for all models."""
    # the package has a function of the module's name
    module: Any = sys.modules["onnx2tf.onnx2tf"]
    original = module._run_onnxsim_inplace_safely
    module._run_onnxsim_inplace_safely = _kept
    try:
        yield
    finally:
        module._run_onnxsim_inplace_safely = original
