"""int8 of the trained YOLOv8n with the analyzer's choice against float32, in ONNX Runtime on one
thread, on this processor and on the same without AVX-512 and VNNI.

No switch of ONNX Runtime leaves them out, so a debugger hides them when it asks the processor
(`hide_vnni.py`); needs gdb and objdump. Weights keep to 7 bits, as convkit chooses by itself on
such a processor, and both files are timed in turns by the same process.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import convkit
from tests.benchmarks.measure import Ratio, inferences, report
from tests.benchmarks.tasks import Task, task

ROUNDS = 60
LIMIT = 1 / 1.3
HIDING = Path(__file__).with_name("hide_vnni.py")


def main() -> bool:
    """Convert, measure and print."""
    for tool in ("gdb", "objdump"):
        if shutil.which(tool) is None:
            raise SystemExit(
                f"this benchmark needs {tool}; on Debian: apt-get install gdb binutils"
            )
    subject = task("yolov8n")
    with tempfile.TemporaryDirectory() as folder:
        files = _converted(subject, Path(folder))
        times = {
            "as it is": _timed(files),
            "without AVX-512 and VNNI": _timed(files, _hiding()),
        }
    ratios = [
        Ratio(f"{title}: int8 / float32, ms", 1000 * integers, 1000 * plain, LIMIT)
        for title, (plain, integers) in times.items()
    ]
    return report("avx2", ratios)


def _converted(subject: Task, folder: Path) -> list[Path]:
    """In float and in integers; prints what each scores."""
    result = convkit.convert(
        subject.model,
        to=["onnx", "onnx-int8"],
        calibration=subject.calibration,
        data=subject.data,
        metric=subject.metric,
        output_dir=folder,
        analysis=convkit.AnalysisSettings(timing=False),
        steering=convkit.Steering(options={"onnxruntime.int8.reduce_range": "on"}),
        settings=convkit.Settings(verify=False, exclude=("auto",)),
    )
    assert result.scoreboard is not None
    for name, row in result.scoreboard.rows.items():
        print(f"  {name}: {subject.metric} {row.value:.4f}", flush=True)
    return [output.path for output in result.outputs]


def _timed(files: Sequence[Path], before: Sequence[str | Path] = ()) -> list[float]:
    """Median seconds of one inference of each file, in a process of its own."""
    command = [*before, sys.executable, "-m", __name__, *files]
    offsets = _offsets() if before else ""
    done = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, "CPUID_OFFSETS": offsets},
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"^times (\[.*\])$", done.stdout, re.MULTILINE)
    if found is None:
        raise SystemExit(f"{command} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    times: list[float] = json.loads(found[1])
    return times


def _hiding() -> list[str | Path]:
    return ["gdb", "-batch", "-nx", "-x", HIDING, "--args"]


def _offsets() -> str:
    """Where ONNX Runtime's library asks the processor what it can."""
    import onnxruntime

    (library,) = Path(onnxruntime.__file__).parent.glob("capi/onnxruntime_pybind11_state*.so")
    listing = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", "-j", ".text", library],
        capture_output=True,
        text=True,
        check=True,
    )
    return " ".join(re.findall(r"^\s*([0-9a-f]+):\s+cpuid", listing.stdout, re.MULTILINE))


def _in_turns(files: Sequence[str]) -> list[float]:
    import numpy as np
    import onnx

    (image,) = onnx.load(files[0]).graph.input
    shape = [axis.dim_value for axis in image.type.tensor_type.shape.dim]
    return inferences(files, np.random.default_rng(0).random(shape, dtype=np.float32), ROUNDS)


if __name__ == "__main__":
    print("times", json.dumps(_in_turns(sys.argv[1:])))
