"""Which kernels LiteRT runs for a file: XNNPACK's or the interpreter's own.

The interpreter for Python does not time its kernels. It does tell which operators its delegate
took, by an undocumented method; where a version lacks it, the profile says so.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from convkit.plugin import Artifact, ExecutedLayer, ExecutionProfile, LayerInfo
from convkit_litert.layers import INDEX

WARM_UP = 2
_DELEGATE = "DELEGATE"
_CONTROL = ("CALL_ONCE", "IF", "WHILE")
"""No delegate takes these, though their results may be passed through one."""


def profile(
    runner: str, artifact: Artifact, inputs: Sequence[Any], threads: int, runs: int
) -> ExecutionProfile:
    """See `Profiler.profile`.

    Raises:
        InputError: the file is damaged.
        ConversionError: the runtime cannot load or run it.
    """
    from convkit_litert.layers import layers
    from convkit_litert.model import load
    from convkit_litert.runner import LiteRtSession, interpreter

    model = load(artifact.path)
    made = interpreter(artifact.path.name, threads, model_path=str(artifact.path))
    session = LiteRtSession(artifact, model, made)
    for _ in range(WARM_UP):
        session.run(inputs)
    start = time.perf_counter()
    for _ in range(runs):
        session.run(inputs)
    wall = (time.perf_counter() - start) / runs
    found = layers(model)
    parts = delegated(made, len(found))
    notes = ["LiteRT's interpreter for Python does not tell how long a kernel takes."]
    if parts is None:
        notes.append("This version of LiteRT does not tell which operators XNNPACK took.")
    return ExecutionProfile(
        model="",
        runner=runner,
        layers=tuple(_layer(layer, number, parts) for number, layer in enumerate(found)),
        runs=runs,
        wall_seconds=wall,
        notes=tuple(notes),
    )


def delegated(interpreter: Any, count: int) -> Mapping[int, int] | None:
    """Number of an operator to the number of the delegate's part that it was merged into; None
    where the interpreter does not tell.

    Args:
        count: operators of the main graph; what the interpreter lists behind them are the parts.
    """
    try:
        nodes = [
            (str(d["op_name"]), [int(i) for i in d["inputs"]], [int(i) for i in d["outputs"]])
            for d in interpreter._get_ops_details()
        ]
    except (AttributeError, KeyError, TypeError):
        return None
    if len(nodes) < count:
        return None
    producers = {i: number for number, (_, _, out) in enumerate(nodes[:count]) for i in out}
    parts = [(ins, outs) for kind, ins, outs in nodes[count:] if kind == _DELEGATE]
    found: dict[int, int] = {}
    for part, (ins, outs) in enumerate(parts):
        borders, todo = set(ins), list(outs)
        while todo:
            number = producers.get(todo.pop())
            if number is None or number in found or nodes[number][0] in _CONTROL:
                continue
            found[number] = part
            todo += [i for i in nodes[number][1] if i not in borders]
    return found


def _layer(layer: LayerInfo, number: int, parts: Mapping[int, int] | None) -> ExecutedLayer:
    compute = layer.compute.removeprefix("hybrid-")  # activations are quantized at run time
    if layer.op_type in ("QUANTIZE", "DEQUANTIZE"):
        compute = "float32"
    kernel = ""
    if parts is not None:
        kernel = f"XNNPACK, part {parts[number] + 1}" if number in parts else "interpreter's own"
    return ExecutedLayer(
        name=layer.name,
        op_type=layer.op_type,
        compute="" if compute == INDEX else compute,
        seconds=0.0,
        kernel=kernel,
        layers=(layer.name,),
    )
