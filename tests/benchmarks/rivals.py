"""Searches for layers to spare as other tools do them, one in a process of its own.

`python -m tests.benchmarks.rivals NAME SPEC OUT`: the specification names a task, the float model
in the rival's format, and the drop allowed. Every evaluation is appended to OUT as a line of JSON,
so that whoever stops the process knows how far it came. The model found is written beside OUT.

- `nncf`: `nncf.quantize_with_accuracy_control`, all as it is by default but the preset.
- `onnxruntime`: what people do by hand. Each layer in turn is left out of `quantize_static`, and
  the whole data set is scored; then layers are left out together, the best first, until the drop
  is met.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.tasks import Sample, Task, task

Run = Callable[[Sample], Sequence[Any]]


class Log:
    """Scores models for a rival, and writes down each time that it does."""

    def __init__(self, subject: Task, path: Path) -> None:
        self._task = subject
        self._path = path
        self._start = time.perf_counter()
        self.samples = subject.samples()

    def score(self, run: Run, what: str) -> float:
        """The metric on the whole data set."""
        value = self._task.score([run(sample) for sample in self.samples])
        self.write(what=what, metric=value, share=1.0)
        return value

    def done(self, made: Path) -> None:
        """The search is over: keep the files of the model that it found."""
        for part in made.parent.glob(f"{made.stem}.*"):
            shutil.copy(part, self._path.with_suffix(part.suffix))
        self.write(what="done", file=str(self._path.with_suffix(made.suffix)))

    def write(self, **facts: Any) -> None:
        """Append a line."""
        facts["seconds"] = time.perf_counter() - self._start
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(facts) + "\n")


def onnx_session(model: Any) -> Run:
    """A model file or its bytes in ONNX Runtime, one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return run_of(session)


def run_of(session: Any) -> Run:
    """A session as a function of one sample."""
    names = [i.name for i in session.get_inputs()]
    return lambda sample: session.run(None, dict(zip(names, sample, strict=True)))


def by_onnxruntime(spec: dict[str, Any], log: Log, subject: Task) -> None:
    """One layer at a time, then the best together."""
    from onnxruntime.quantization import QuantFormat, QuantType, quant_pre_process, quantize_static

    with tempfile.TemporaryDirectory() as folder:
        plain, made = Path(folder) / "plain.onnx", Path(folder) / "made.onnx"
        quant_pre_process(spec["model"], str(plain))
        names, nodes = _nodes(plain)
        calibration = subject.calibration_samples()

        def quantized(spared: Sequence[str]) -> float:
            quantize_static(
                str(plain),
                str(made),
                Reader(names, calibration),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                nodes_to_exclude=list(spared),
            )
            return log.score(onnx_session(str(made)), f"{len(spared)} spared")

        wanted = log.score(onnx_session(str(plain)), "float") - spec["max_drop"]
        if quantized([]) >= wanted:
            log.done(made)
            return
        gains = {node: quantized([node]) for node in nodes}
        ranked = sorted(nodes, key=lambda node: -gains[node])
        for count in range(2, len(ranked) + 1):
            if quantized(ranked[:count]) >= wanted:
                log.done(made)
                return


class Reader:
    """Calibration samples as ONNX Runtime asks for them."""

    def __init__(self, names: Sequence[str], samples: Sequence[Sample]) -> None:
        self._left = iter([dict(zip(names, sample, strict=True)) for sample in samples])

    def get_next(self) -> dict[str, Any] | None:
        """The next sample."""
        return next(self._left, None)


def _nodes(path: Path) -> tuple[list[str], list[str]]:
    """The names of a model's inputs, and of the nodes that ONNX Runtime quantizes."""
    import onnx
    from onnxruntime.quantization.registry import QDQRegistry

    graph = onnx.load(str(path)).graph
    constants = {i.name for i in graph.initializer}
    inputs = [i.name for i in graph.input if i.name not in constants]
    return inputs, [node.name for node in graph.node if node.op_type in QDQRegistry]


def by_nncf(spec: dict[str, Any], log: Log, subject: Task) -> None:
    """NNCF's accuracy control, on an OpenVINO model or on an ONNX model."""
    from convkit_nncf.tool import load

    nncf = load()
    path = Path(spec["model"])
    kind = _Onnx if path.suffix == ".onnx" else _OpenVino
    tool = kind(path)
    log.score(tool.run(tool.compiled(tool.model)), "float")
    rows = {id(sample): row for row, sample in enumerate(log.samples)}

    def validate(compiled: Any, items: Any) -> float:
        """NNCF asks for parts of the data, and for single samples, too."""
        chosen = list(items)
        run = tool.run(compiled)
        value = subject.score([run(item) for item in chosen], [rows[id(item)] for item in chosen])
        log.write(what="nncf", metric=value, share=len(chosen) / len(log.samples))
        return value

    calibration = subject.calibration_samples()
    made = nncf.quantize_with_accuracy_control(
        tool.model,
        nncf.Dataset(calibration, tool.feed),
        nncf.Dataset(log.samples, tool.feed),
        validate,
        max_drop=spec["max_drop"],
        drop_type=nncf.DropType.ABSOLUTE,
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(calibration),
    )
    log.score(tool.run(tool.compiled(made)), "result")
    with tempfile.TemporaryDirectory() as folder:
        log.done(tool.saved(made, Path(folder)))


class _Onnx:
    """What NNCF wants to know of an ONNX model."""

    def __init__(self, path: Path) -> None:
        import onnx

        self.model = onnx.load(str(path))
        self._names = _nodes(path)[0]
        self._open: tuple[Any, Run] | None = None

    def feed(self, sample: Sample) -> Any:
        """A sample as NNCF gives it to the model."""
        return dict(zip(self._names, sample, strict=True))

    def compiled(self, model: Any) -> Any:
        """NNCF hands over models as they are."""
        return model

    def run(self, model: Any) -> Run:
        """A model to score; the session of the last one is kept, for NNCF asks sample by sample."""
        if self._open is None or self._open[0] is not model:
            self._open = (model, onnx_session(model.SerializeToString()))
        return self._open[1]

    def saved(self, model: Any, folder: Path) -> Path:
        """Write a model."""
        (folder / "made.onnx").write_bytes(model.SerializeToString())
        return folder / "made.onnx"


class _OpenVino:
    """What NNCF wants to know of an OpenVINO model."""

    def __init__(self, path: Path) -> None:
        import openvino

        self._core = openvino.Core()
        self.model = self._core.read_model(str(path))

    def feed(self, sample: Sample) -> Any:
        """A sample as NNCF gives it to the model."""
        return sample

    def compiled(self, model: Any) -> Any:
        """As NNCF compiles it, but for the number of threads."""
        return self._core.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": 1})

    def run(self, compiled: Any) -> Run:
        """A compiled model to score."""
        return lambda sample: [np.asarray(value) for value in compiled(list(sample)).values()]

    def saved(self, model: Any, folder: Path) -> Path:
        """Write a model."""
        import openvino

        openvino.save_model(model, folder / "made.xml", compress_to_fp16=False)
        return folder / "made.xml"


NAMES = {"nncf": by_nncf, "onnxruntime": by_onnxruntime}


def main() -> None:
    """Run one rival."""
    name, spec_file, out = sys.argv[1:]
    spec = json.loads(Path(spec_file).read_text("utf-8"))
    subject = dataclasses.replace(task(spec["task"]), data=Path(spec["data"]))
    NAMES[name](spec, Log(subject, Path(out)), subject)


if __name__ == "__main__":
    main()
