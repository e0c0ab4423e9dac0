"""A plugin whose models are ONNX files that take longer by a known share: a planted slowdown.

A `.slowed` file says `{"model": "model.onnx", "factor": 1.1}` and lies beside the model. Every
inference is ONNX Runtime's own, on one thread; afterwards the thread works on until it has used
`factor` times the processor time of that. Wall-clock time would plant more on a busy machine: it
holds what the inference waited for a processor.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convkit.artifact import Artifact, Detection, Format, ReadOptions, State
from convkit.inspection import Inspection
from convkit.plugin import Inspector, Runner, Session, hookimpl

FORMAT = "slowed"
SUFFIX = ".slowed"


def plant(model: Path, path: Path, factor: float) -> Path:
    """Write a file that stands for a model in the same folder, slowed down."""
    path.write_text(json.dumps({"model": model.name, "factor": factor}), "utf-8")
    return path


@dataclass(frozen=True)
class SlowedSession:
    """A session that works `factor` times as long as the one inside."""

    inner: Session
    factor: float

    def run(self, inputs: Sequence[Any]) -> Sequence[Any]:
        start = time.thread_time()
        outputs = self.inner.run(inputs)
        end = start + self.factor * (time.thread_time() - start)
        while time.thread_time() < end:
            pass
        return outputs


@dataclass(frozen=True)
class SlowedRunner:
    name: str = "slowed.run"
    format: str = FORMAT
    requirements: tuple[str, ...] = ("onnxruntime",)

    def open(self, artifact: Artifact, threads: int) -> Session:
        from convkit_onnx.runner import OnnxRuntimeRunner

        model, factor = _read(artifact.path)
        inner = dataclasses.replace(artifact, path=model, state=State("onnx"))
        return SlowedSession(OnnxRuntimeRunner().open(inner, threads), factor)


@dataclass(frozen=True)
class SlowedInspector:
    name: str = "slowed.inspect"
    format: str = FORMAT
    requirements: tuple[str, ...] = ("onnx",)

    def inspect(self, path: Path, read: ReadOptions) -> Inspection:
        from convkit_onnx.inspector import OnnxInspector

        found = OnnxInspector().inspect(_read(path)[0], read)
        return dataclasses.replace(found, state=State(FORMAT))


@hookimpl
def convkit_formats() -> tuple[Format, ...]:
    return (Format(FORMAT, "Slowed ONNX", (SUFFIX,)),)


@hookimpl
def convkit_runners() -> tuple[Runner, ...]:
    return (SlowedRunner(),)


@hookimpl
def convkit_inspectors() -> tuple[Inspector, ...]:
    return (SlowedInspector(),)


@hookimpl
def convkit_detect_format(path: Path, head: bytes) -> Detection | None:
    return Detection(FORMAT, 1.0) if path.suffix == SUFFIX else None


def _read(path: Path) -> tuple[Path, float]:
    said = json.loads(path.read_text("utf-8"))
    return path.with_name(said["model"]), float(said["factor"])
