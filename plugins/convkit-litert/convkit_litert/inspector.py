"""Says what a TFLite file really is, from its flatbuffer alone; the interpreter is not started."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from convkit.artifact import Trait
from convkit.plugin import Inspection, LayerInfo, Operation, ReadOptions, State, TensorSpec

if TYPE_CHECKING:
    from convkit_litert.model import Model, Port

_FOREIGN = "CUSTOM:"


class LiteRtInspector:
    """Reads `.tflite` files of any producer."""

    name: str = "litert.inspect"
    format: str = "tflite"
    requirements: tuple[str, ...] = ("ai-edge-litert",)

    def inspect(self, path: Path, read: ReadOptions) -> Inspection:
        """Parse and check the file; see `Inspector.inspect`.

        The digest is left empty: the writers of this format are deterministic, so that the
        digest of the plain file will do.
        """
        from convkit_litert.model import load

        return describe(load(path))

    def operations(self, path: Path, read: ReadOptions) -> tuple[Operation, ...]:
        """See `OperationReader.operations`."""
        from convkit_litert.operations import operations

        return operations(path)


def describe(model: Model) -> Inspection:
    """The findings on a parsed file. Specs carry signature names where the file has them."""
    from collections import Counter

    from convkit_litert.layers import layers

    found = layers(model)
    inputs = tuple(spec(port) for port in model.inputs())
    outputs = tuple(spec(port) for port in model.outputs())
    flex = any(layer.op_type.startswith(f"{_FOREIGN}Flex") for layer in found)
    traits: dict[str, Trait] = {
        "dynamic": any(None in s.shape for s in inputs),
        "quantized_io": any(s.scale is not None for s in (*inputs, *outputs)),
        "select_tf_ops": flex,
    }
    kind = activations(found)
    if kind:
        traits["activations"] = kind
    return Inspection(
        state=State("tflite", precision(model, found)),
        inputs=inputs,
        outputs=outputs,
        operators=dict(sorted(Counter(layer.op_type for layer in found).items())),
        parameter_bytes=parameter_bytes(model),
        layers=found,
        traits=traits,
        producer=model.description,
    )


def activations(found: tuple[LayerInfo, ...]) -> str:
    """The integer type of activations in most of the integer arithmetic: `int8`, or `int16` where
    the file is one of 16x8; empty where none is in integers."""
    from collections import Counter

    kinds: Counter[str] = Counter()
    for layer in found:
        if layer.compute.startswith(("int", "uint")):
            kinds[layer.compute] += layer.macs
    return kinds.most_common(1)[0][0] if kinds.total() else ""


def spec(port: Port) -> TensorSpec:
    """An input or output as the runner takes it."""
    tensor = port.tensor
    return TensorSpec(
        name=port.name,
        shape=tensor.signature,
        dtype=tensor.dtype,
        scale=tensor.scales[0] if tensor.quantized else None,
        zero_point=tensor.zero_points[0] if tensor.quantized else None,
    )


def parameter_bytes(model: Model) -> dict[str, int]:
    """Bytes of constants by dtype; index tensors such as shapes and axes are constants too."""
    from collections import Counter

    sizes: Counter[str] = Counter()
    for tensor in (t for graph in model.subgraphs for t in graph.tensors):
        if tensor.constant:
            sizes[tensor.dtype] += tensor.constant_bytes
    return dict(sorted(sizes.items()))


def precision(model: Model, found: tuple[LayerInfo, ...]) -> str:
    """The true precision.

    `int8` if integer activations meet integer weights in at least half of the
    multiply-accumulates (of the operators where there are none); else by what most of the
    weights are stored as: `int8-dynamic`, `fp16` or `fp32`.
    """
    from collections import Counter

    from convkit_litert.layers import INDEX

    arithmetic = [
        layer
        for layer in found
        if layer.compute != INDEX and layer.op_type not in ("QUANTIZE", "DEQUANTIZE")
    ]
    total = sum(layer.macs or (not any(x.macs for x in found)) for layer in arithmetic)
    static = sum(
        layer.macs or (not any(x.macs for x in found))
        for layer in arithmetic
        if layer.compute.startswith(("int", "uint"))
    )
    if total and 2 * static >= total:
        return "int8"
    stored: Counter[str] = Counter()
    for tensor in (t for graph in model.subgraphs for t in graph.tensors):
        if tensor.constant and (tensor.quantized or "float" in tensor.dtype):
            stored["int" if tensor.quantized else tensor.dtype] += tensor.elements
    weights = sum(stored.values())
    if weights and 2 * stored["int"] >= weights:
        return "int8-dynamic"
    if weights and 2 * (stored["float16"] + stored["bfloat16"]) >= weights:
        return "fp16"
    return "fp32"
