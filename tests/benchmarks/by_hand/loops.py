"""A plain loop around one runtime: `loops KIND MODEL SECONDS`.

Prints median and minimum of seconds per inference, and as `own` the median of processor time, which
on one thread is what an inference takes without waiting for a processor.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

WARM = 20


def onnx(path: str) -> Callable[[], Any]:
    """ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feeds = {i.name: _random(i.shape) for i in session.get_inputs()}
    return lambda: session.run(None, feeds)


def tflite(path: str) -> Callable[[], Any]:
    """The LiteRT interpreter."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(path, num_threads=1)
    interpreter.allocate_tensors()
    inputs = [(d["index"], _random(d["shape"])) for d in interpreter.get_input_details()]
    outputs = [d["index"] for d in interpreter.get_output_details()]

    def run() -> Any:
        for index, value in inputs:
            interpreter.set_tensor(index, value)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in outputs]

    return run


def torch(path: str) -> Callable[[], Any]:
    """An exported program."""
    import torch

    torch.set_num_threads(1)
    program = torch.export.load(path)
    module = program.module()
    shapes = [
        node.meta["val"].shape
        for node in program.graph.nodes
        if node.name in program.graph_signature.user_inputs
    ]
    inputs = [torch.from_numpy(_random(shape)) for shape in shapes]

    def run() -> Any:
        with torch.no_grad():
            return module(*inputs)

    return run


def main() -> None:
    """Loop and print."""
    kind, path, seconds = sys.argv[1:]
    run = {"onnx": onnx, "tflite": tflite, "torch": torch}[kind](path)
    for _ in range(WARM):
        run()
    times, used = [], []
    end = time.perf_counter() + float(seconds)
    while time.perf_counter() < end:
        before = time.process_time()
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
        used.append(time.process_time() - before)
    median, own = statistics.median(times), statistics.median(used)
    print(json.dumps({"median": median, "minimum": min(times), "own": own}))


def _random(shape: Any) -> Any:
    import numpy as np

    return np.random.default_rng(0).random([int(size) for size in shape], dtype=np.float32)


if __name__ == "__main__":
    main()
