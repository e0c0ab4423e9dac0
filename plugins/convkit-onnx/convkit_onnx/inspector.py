"""`onnx.inspect`: what an ONNX file really is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import prod
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from convkit.artifact import RANDOM, Trait
from convkit.plugin import Inspection, ReadOptions, State, TensorSpec

if TYPE_CHECKING:
    import onnx

_IMAGE_OPS = frozenset({"Conv", "ConvTranspose", "QLinearConv", "ConvInteger"})


class OnnxInspector:
    """Reads ONNX files with their external data."""

    name: str = "onnx.inspect"
    format: str = "onnx"
    requirements: tuple[str, ...] = ("onnx", "numpy")

    def inspect(self, path: Path, read: ReadOptions) -> Inspection:
        """Read the file.

        Raises:
            InputError: not ONNX, truncated, damaged, or external data missing.
            UnsafeError: external data outside the model's folder, even with `read.trust`.
        """
        from convkit_onnx import layers, precision, reading
        from convkit_onnx.digest import model_digest

        model = reading.load_graph(path)
        companions = reading.companions(model)
        reading.complete(model, path)
        facts = layers.gather(model)
        found = layers.model_layers(model, facts)
        sizes = _parameter_bytes(model)
        truth = precision.true_precision(model.graph.node, found, facts, sizes)
        inputs, outputs = io_specs(model)
        operators = Counter(
            node.op_type for graph in reading.graphs(model.graph) for node in graph.node
        )
        return Inspection(
            state=State("onnx", truth),
            inputs=inputs,
            outputs=outputs,
            digest=model_digest(model, path.parent),
            operators=dict(sorted(operators.items())),
            parameter_bytes=sizes,
            layers=found,
            traits=_traits(model, inputs),
            producer=f"{model.producer_name} {model.producer_version}".strip(),
            companions=companions,
        )

    def rename(self, path: Path, names: Mapping[str, str]) -> None:
        """See `Renamer.rename`: the model's `location` entries."""
        from convkit_onnx import reading

        model = reading.load_graph(path)
        for tensor in reading.external(model):
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = names.get(PurePath(entry.value).as_posix(), entry.value)
        path.write_bytes(model.SerializeToString(deterministic=True))


def io_specs(model: onnx.ModelProto) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs (without those that are weights) and outputs, in the file's order."""
    weights = {tensor.name for tensor in model.graph.initializer}
    images = any(node.op_type in _IMAGE_OPS for node in model.graph.node)
    inputs = tuple(_spec(v, images) for v in model.graph.input if v.name not in weights)
    return inputs, tuple(_spec(v, False) for v in model.graph.output)


def _spec(value: Any, images: bool) -> TensorSpec:
    from convkit_onnx.layers import dtype_name

    kind = value.type
    if kind.HasField("optional_type"):  # convkit always gives one
        kind = kind.optional_type.elem_type
    tensor = kind.tensor_type
    shape: tuple[int | str | None, ...] = ()
    if tensor.HasField("shape"):
        shape = tuple(
            d.dim_value if d.HasField("dim_value") else (d.dim_param or None)
            for d in tensor.shape.dim
        )
    dtype = dtype_name(tensor.elem_type)
    # ONNX convolutions are NCHW by definition; elsewhere four axes may mean anything.
    layout = "NCHW" if images and len(shape) == 4 and dtype.startswith("float") else ""
    return TensorSpec(value.name, shape, dtype, layout)


def _traits(model: onnx.ModelProto, inputs: tuple[TensorSpec, ...]) -> dict[str, Trait]:
    from convkit_onnx.chance import random_operators

    traits: dict[str, Trait] = {
        "opset": max(
            (o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0
        ),
        # An output of unknown size may depend on the data; then no preparation fixes it.
        "dynamic": any(not isinstance(d, int) for spec in inputs for d in spec.shape),
    }
    exporter = _exporter(model)
    if exporter:
        traits["exporter"] = exporter
    drawing = random_operators(model)
    if drawing:
        traits[RANDOM] = ", ".join(drawing)
    kinds = {node.op_type for node in model.graph.node}
    # Models of quantized operators also hold QuantizeLinear, at their borders.
    if any(kind.startswith("QLinear") for kind in kinds):
        traits["quantized"] = "qoperator"
    elif kinds & {"QuantizeLinear", "DequantizeLinear"}:
        traits["quantized"] = "qdq"
    activations = _activations(model)
    if activations:
        traits["activations"] = activations
    return traits


def _activations(model: onnx.ModelProto) -> str:
    """The integer type of most activations of a statically quantized model."""
    from convkit_onnx.layers import dtype_name

    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    found = Counter(
        dtype_name(types[node.input[2]])
        for node in model.graph.node
        if node.op_type == "QuantizeLinear" and len(node.input) > 2 and node.input[2] in types
    )
    return found.most_common(1)[0][0] if found else ""


def _exporter(model: onnx.ModelProto) -> str:
    """torch names itself in both exporters; dynamo's files carry node metadata, and the legacy
    exporter names nodes by module path."""
    if model.producer_name != "pytorch":
        return ""
    nodes = model.graph.node
    if any(prop.key.startswith("pkg.torch") for node in nodes for prop in node.metadata_props):
        return "dynamo"
    return "legacy" if any(node.name.startswith("/") for node in nodes) else ""


def _parameter_bytes(model: onnx.ModelProto) -> dict[str, int]:
    import onnx

    from convkit_onnx import reading
    from convkit_onnx.layers import dtype_name

    sizes = Counter[str]()
    for tensor in reading.tensors(model):
        name = dtype_name(tensor.data_type)
        if name and name != "object":
            width = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
            sizes[name] += prod(tensor.dims) * width
    return dict(sorted(sizes.items()))
