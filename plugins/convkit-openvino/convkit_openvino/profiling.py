"""Which kernels OpenVINO runs for a model: its performance counters and its runtime graph."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from convkit.errors import ConversionError
from convkit.plugin import Artifact, ExecutedLayer, ExecutionProfile

WARM_UP = 2
_DTYPES = {
    "f64": "float64",
    "f32": "float32",
    "f16": "float16",
    "bf16": "bfloat16",
    "i64": "int64",
    "i32": "int32",
    "i16": "int16",
    "u16": "uint16",
    "i8": "int8",
    "u8": "uint8",
    "i4": "int4",
    "u4": "uint4",
    "boolean": "bool",
}


def profile(
    runner: str, artifact: Artifact, inputs: Sequence[Any], threads: int, runs: int
) -> ExecutionProfile:
    """See `Profiler.profile`.

    Raises:
        InputError: the file is damaged.
        ConversionError: OpenVINO cannot compile or run it.
    """
    from convkit_openvino import interface, ir, runtime
    from convkit_openvino.layers import layer_infos
    from convkit_openvino.runner import compiled, feed, places

    names = {layer.name for layer in layer_infos(ir.load(artifact.path).graph)}
    model = runtime.read_model(artifact.path)
    order = places(artifact.inputs, interface.input_names(model), "input")
    ready = compiled(model, artifact.path.name, threads, counting=True)
    request = ready.create_infer_request()
    for _ in range(WARM_UP):
        feed(request, order, inputs)
    before = _counted(request)
    start = time.perf_counter()
    for _ in range(runs):
        feed(request, order, inputs)
    wall = (time.perf_counter() - start) / runs
    kinds = _counted(request)
    if not kinds:
        raise ConversionError(f"OpenVINO counts no kernels in {artifact.path.name}")
    facts = _runtime_facts(ready)
    placed = sorted(kinds, key=lambda name: int(facts.get(name, {}).get("execOrder", 0)))
    return ExecutionProfile(
        model="",
        runner=runner,
        layers=tuple(
            _layer(
                name,
                kinds[name],
                facts.get(name, {}),
                _mean(kinds[name], before.get(name), runs),
                names,
            )
            for name in placed
        ),
        runs=runs,
        wall_seconds=wall,
        notes=(
            "A kernel's type is the runtime precision that OpenVINO's graph states for it.",
            "The runtime was told to compute floats in float32 (INFERENCE_PRECISION_HINT), as in "
            "convkit's verification and benchmarks.",
        ),
    )


def _counted(request: Any) -> dict[str, Any]:
    """The counters of all kernels that ran."""
    infos = request.get_profiling_info()
    return {info.node_name: info for info in infos if info.status == info.Status.EXECUTED}


def _mean(after: Any, before: Any, runs: int) -> float:
    """Seconds of one inference. A counter holds the mean of all inferences so far, the slow first
    ones included."""
    total = after.real_time.total_seconds() * (WARM_UP + runs)
    warm_up = before.real_time.total_seconds() * WARM_UP if before is not None else 0.0
    return max(0.0, float(total - warm_up) / runs)


def _layer(
    name: str, info: Any, facts: Mapping[str, str], seconds: float, names: set[str]
) -> ExecutedLayer:
    kernel = facts.get("primitiveType") or info.exec_type
    kind = str(info.node_type)
    compute = _DTYPES.get(facts.get("runtimePrecision", ""), "")
    if kind == "FakeQuantize":  # it makes integers of floats
        compute = "float32"
    merged = [part for part in facts.get("originalLayersNames", "").split(",") if part in names]
    return ExecutedLayer(
        name=name,
        op_type=kind,
        compute=compute,
        seconds=seconds,
        kernel=str(kernel),
        layers=tuple(dict.fromkeys(merged)),
    )


def _runtime_facts(ready: Any) -> dict[str, dict[str, str]]:
    """What the runtime's own graph says about each of its nodes."""
    return {
        node.friendly_name: {
            key: str(value.value if hasattr(value, "value") else value)
            for key, value in dict(node.get_rt_info()).items()
        }
        for node in ready.get_runtime_model().get_ordered_ops()
    }
