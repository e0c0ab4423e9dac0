"""A converter that does inside a worker what its option says."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from convkit.errors import ConversionError, InputError
from convkit.plans import OptionValue
from convkit.plugin import Artifact, Converter, ConverterBase, HopContext, State, hookimpl


class Probe(ConverterBase):
    name: str = "probe.do"

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, OptionValue],
        context: HopContext,
    ) -> Artifact:
        what, value = str(options["what"]), options.get("value", "")
        context.progress(what, 0.5)
        if what == "echo":
            return Artifact(output, State("x"), digest=str(value))
        if what == "pid":
            return Artifact(output, State("x"), digest=str(os.getpid()))
        if what == "variable":
            return Artifact(output, State("x"), digest=os.environ[str(value)])
        if what == "signal":
            os.kill(os.getpid(), int(value))
        if what == "segfault":
            import ctypes

            ctypes.string_at(0)
        if what == "exit":
            os._exit(int(value))
        if what == "hang":
            if value == "with a child":
                child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
                context.progress(str(child.pid), None)
            time.sleep(600)
        if what == "child-then-abort":
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            context.progress(str(child.pid), None)
            os.abort()
        if what == "noise":
            sys.stdout.write("from Python\n")
            sys.stderr.write("from stderr\n")
            os.write(1, b'{"kind": "result", "id": 0, "result": "a lie"}\n')
            subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
        if what == "read-input":
            return Artifact(output, State("x"), digest=repr(sys.stdin.read()))
        if what == "typed":
            try:
                raise OSError("the tool's own words")
            except OSError as error:
                raise ConversionError("it failed", hint="try harder") from error
        if what == "input":
            raise InputError("that is no model")
        if what == "bare":
            raise KeyError("surprise")
        if what == "sys.exit":
            sys.exit("goodbye")
        if what == "full":
            raise OSError(28, "No space left on device")
        if what == "memory":
            hoard = bytearray(int(value) << 20)
            time.sleep(30)
            del hoard
        if what == "unwritable":
            odd: dict[str, bool | int | str] = {"x": b"bytes"}  # type: ignore[dict-item]
            return Artifact(output, State("x"), traits=odd)
        return Artifact(output, State("x"))


@hookimpl
def convkit_converters() -> tuple[Converter, ...]:
    return (Probe(),)
