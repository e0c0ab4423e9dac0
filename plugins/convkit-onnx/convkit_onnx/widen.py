"""`onnx.widen`: half precision written out as float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from convkit.artifact import PARAMETER_BYTES
from convkit.plans import OptionValue
from convkit.plugin import Artifact, ConverterBase, HopContext, Obstacle, State

# Attributes that hold the type of a result, or one to compute in.
_TYPES = frozenset(
    {"to", "dtype", "output_dtype", "output_datatype", "stash_type", "softmax_precision"}
)


class Widen(ConverterBase):
    """For tools that take no half precision. Every number of float16 and of bfloat16 is one of
    float32, so nothing is lost; arithmetic is no longer rounded to half after each operator, which
    brings the result nearer to what the model was before it was made half. Inputs and outputs are
    float32, too."""

    name: str = "onnx.widen"
    source: State = State("onnx", "fp16")
    target: State = State("onnx")
    requirements: tuple[str, ...] = ("onnx", "numpy")
    seconds: float = 1.0
    widens: bool = True

    def check(self, artifact: Artifact, options: Mapping[str, OptionValue]) -> Sequence[Obstacle]:
        """Bits that are read as another type: there is no saying what they would be."""
        from convkit_onnx import layers, reading
        from convkit_onnx.half import inside

        model = reading.load_graph(artifact.path)
        names = tuple(
            name
            for name, node in layers.named_nodes(model)
            if any(_recast(n) for n in (node, *inside(node)))
        )
        remedy = "Take a tool that reads half precision itself."
        return (Obstacle("BitCast", names, remedy),) if names else ()

    def convert(
        self,
        artifact: Artifact,
        output: Path,
        options: Mapping[str, OptionValue],
        context: HopContext,
    ) -> Artifact:
        """Write the model out in float32; see `Converter`."""
        from convkit_onnx import reading, writing

        context.progress("loading", None)
        model = reading.load(artifact.path)
        context.progress("widening", None)
        widen(model)
        context.progress("writing", None)
        writing.save(model, output, artifact.path.parent)
        return describe_widened(artifact, output, model, self.target)


def widen(model: Any) -> None:
    """Turn every tensor of half precision into float32, in place. The weights must be loaded."""
    from convkit_onnx import reading

    for tensor in reading.tensors(model):
        _widen_tensor(tensor)
    for body in (*reading.graphs(model.graph), *model.functions):
        for value in body.value_info:
            _widen_type(value.type)
        for node in body.node:
            _widen_attributes(node)
    for graph in reading.graphs(model.graph):
        for value in (*graph.input, *graph.output):
            _widen_type(value.type)


def describe_widened(source: Artifact, output: Path, model: Any, state: State) -> Artifact:
    """The artifact at `output`, with the types of inputs and outputs that the model has now. What
    the source was said to be of size and integers is left for the inspector to say anew."""
    from convkit_onnx.inspector import io_specs
    from convkit_onnx.result import describe

    found = describe(source, output, model, state)
    dtypes = {spec.name: spec.dtype for specs in io_specs(model) for spec in specs}
    inputs, outputs = (
        tuple(replace(spec, dtype=dtypes.get(spec.name, spec.dtype)) for spec in specs)
        for specs in (found.inputs, found.outputs)
    )
    stale = (PARAMETER_BYTES, "quantized", "activations")
    traits = {name: value for name, value in found.traits.items() if name not in stale}
    return replace(found, inputs=inputs, outputs=outputs, traits=traits)


def _halves() -> frozenset[int]:
    from onnx import TensorProto

    return frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16})


def _widen_tensor(tensor: Any) -> None:
    import numpy as np
    from onnx import numpy_helper

    if tensor.data_type in _halves():
        values = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _widen_type(kind: Any) -> None:
    from onnx import TensorProto

    for field in ("tensor_type", "sparse_tensor_type"):
        if kind.HasField(field) and getattr(kind, field).elem_type in _halves():
            getattr(kind, field).elem_type = TensorProto.FLOAT
    for field in ("sequence_type", "optional_type"):
        if kind.HasField(field):
            _widen_type(getattr(kind, field).elem_type)
    if kind.HasField("map_type"):
        _widen_type(kind.map_type.value_type)


def _widen_attributes(node: Any) -> None:
    from onnx import TensorProto

    for attribute in node.attribute:
        if attribute.name in _TYPES and attribute.i in _halves():
            attribute.i = TensorProto.FLOAT
        if attribute.HasField("tp"):
            _widen_type(attribute.tp)
        for kind in attribute.type_protos:
            _widen_type(kind)


def _recast(node: Any) -> bool:
    """Whether a node reads the bits of sixteen-bit numbers as something else; of what, the file
    need not say."""
    import onnx

    if node.op_type != "BitCast":
        return False
    to = next((a.i for a in node.attribute if a.name == "to"), 0)
    return to in _halves() | {onnx.TensorProto.INT16, onnx.TensorProto.UINT16}
