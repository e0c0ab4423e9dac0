"""All intermediate results of one inference in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from convkit.errors import ConversionError
from convkit.plugin import Artifact, TracedTensor

_FLOATS = frozenset({"tensor(float)", "tensor(float16)", "tensor(double)"})
_INTEGERS = frozenset({"tensor(int8)", "tensor(uint8)", "tensor(int16)", "tensor(uint16)"})

# Which input of an operator with an integer result is the scale of that; the zero point follows.
_SCALES = {
    "QuantizeLinear": 1,
    "QLinearConv": 6,
    "QLinearMatMul": 6,
    "QLinearAdd": 6,
    "QLinearMul": 6,
    "QLinearConcat": 0,
    "QLinearAveragePool": 3,
    "QLinearGlobalAveragePool": 3,
    "QLinearLeakyRelu": 3,
    "QLinearSigmoid": 3,
    "QLinearSoftmax": 3,
    "QGemm": 7,
}


def trace(artifact: Artifact, inputs: Sequence[Any], threads: int) -> Iterator[TracedTensor]:
    """See `Tracer.trace`.

    Raises:
        ConversionError: ONNX Runtime cannot load or run the model.
        InputError, UnsafeError: its external data is missing or lies elsewhere.
    """
    from convkit_onnx import layers, reading, runner

    model = reading.load_light(artifact.path)
    made = [name for node in model.graph.node for name in node.output if name]
    scales = _scales(model)
    wanted = dict.fromkeys((*made, *(n for pair in scales.values() for n in pair if n in made)))
    present = {value.name for value in model.graph.output}
    for name in wanted:
        if name not in present:
            model.graph.output.add(name=name)  # ONNX Runtime finds the type by itself
    session = runner.load(
        model.SerializeToString(), threads, artifact.path.resolve().parent, plain=True
    )
    types = {value.name: value.type for value in session.get_outputs()}
    shown = [
        name
        for name in wanted
        if types.get(name) in _FLOATS or (types.get(name) in _INTEGERS and name in scales)
    ]
    needed = dict.fromkeys([*shown, *(n for name in shown for n in scales.get(name, ()))])
    constants = _constants(model)
    fetched = [name for name in needed if name in types and name not in constants]
    feeds = dict(zip((spec.name for spec in artifact.inputs), inputs, strict=True))
    try:
        # Asked for nothing, ONNX Runtime gives all.
        results = session.run(fetched, feeds) if fetched else []
    except Exception as exc:  # onnxruntime's exception types share no public base
        raise ConversionError(
            f"ONNX Runtime cannot run the model: {reading.first_line(exc)}"
        ) from exc
    values = {**constants, **feeds, **dict(zip(fetched, results, strict=True))}
    for layer, node in layers.named_nodes(model):
        for name in node.output:
            if name in shown:
                value = _floats(values, name, scales)
                yield TracedTensor(layer, node.op_type, layers.scope(node), value, name)


def _scales(model: Any) -> dict[str, tuple[str, ...]]:
    """Integer tensor to the names of its scale and, where it has one, its zero point."""
    found: dict[str, tuple[str, ...]] = {}
    for node in model.graph.node:
        position = _SCALES.get(node.op_type)
        if position is not None and len(node.input) > position:
            found[node.output[0]] = tuple(n for n in node.input[position : position + 2] if n)
    return found


def _constants(model: Any) -> dict[str, Any]:
    """Small initializers: scales and zero points are among them."""
    from onnx import TensorProto, numpy_helper

    return {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if tensor.data_location != TensorProto.EXTERNAL and len(tensor.dims) < 2
    }


def _floats(values: Mapping[str, Any], name: str, scales: Mapping[str, tuple[str, ...]]) -> Any:
    """A tensor as float32; scales per channel lie along the axis of their length."""
    import numpy as np

    value = values[name]
    if value.dtype.kind == "f":
        return value.astype(np.float32)
    scale, *zero = (values[part] for part in scales[name])
    shifted = value.astype(np.float32) - (zero[0].astype(np.float32) if zero else 0)
    return shifted * scale
