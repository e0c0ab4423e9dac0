"""One call of tf2onnx, and what is checked in its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from convkit.errors import ConversionError
from convkit.plugin import Artifact, Option, TensorSpec, TraitProvision, TraitRequirement
from convkit_tf2onnx import naming
from convkit_tf2onnx.tool import first_line

OPSET = Option(
    "opset", 18, "operator set of the ONNX file; the newest that tf2onnx writes", (), 11, 18
)
EXPORTER = "tf2onnx"
PROVIDES = (
    TraitProvision("opset", option=OPSET.name),
    TraitProvision("exporter", value=EXPORTER),
)
FITS_IN_ONE_MESSAGE = TraitRequirement("parameter_bytes", maximum=2**31 - 1)
"""TensorFlow's graph and the ONNX file are one protobuf message each, weights included."""


@dataclass(frozen=True)
class Source:
    """What tf2onnx reads.

    Attributes:
        inputs, outputs: the artifact's name to the tensor's name in what is read, in the
            artifact's order.
        definition: a GraphDef of constants, or None for TFLite.
        tflite: path of a TFLite file.
        tables: contents of lookup tables by their shared names.
    """

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    definition: Any = None
    tflite: Path | None = None
    tables: Mapping[Any, Any] = field(default_factory=dict)


def translate(tf: Any, source: Source, artifact: Artifact, opset: int) -> Any:
    """The ModelProto, with the artifact's names, order and symbolic dimensions.

    Raises:
        ConversionError: an operator has no translation, or tf2onnx fails.
    """
    from tf2onnx import optimizer, utils
    from tf2onnx.tfonnx import process_tf_graph

    name = artifact.path.name
    # One tensor may have several names: it is made under the first, and copied.
    makers: dict[str, str] = {}
    for public, tensor in (*source.inputs.items(), *source.outputs.items()):
        makers.setdefault(tensor, public)
    # Names of what it inserts are counted on over all calls; the same call shall give the same.
    utils.INTERNAL_NAME = 1
    try:
        with tf.Graph().as_default() as graph, tf.device("/cpu:0"):
            if source.definition is not None:
                tf.import_graph_def(source.definition, name="")
            parsed = process_tf_graph(
                graph,
                opset=opset,
                input_names=list(source.inputs.values()),
                output_names=list(dict.fromkeys(source.outputs.values())),
                tensors_to_rename=makers,
                initialized_tables=dict(source.tables),
                tflite_path=None if source.tflite is None else str(source.tflite),
            )
            model = optimizer.optimize_graph(parsed).make_model("")
    except Exception as exc:
        raise ConversionError(f"tf2onnx failed on {name}: {first_line(exc)}") from exc
    for public, tensor in source.outputs.items():
        if makers[tensor] != public:
            _copy(model.graph, makers[tensor], public)
    naming.canonical(model.graph)
    _refuse_leftovers(model, name)
    _arrange(model.graph.input, "inputs", artifact.inputs, list(source.inputs), name)
    _arrange(model.graph.output, "outputs", artifact.outputs, list(source.outputs), name)
    try:
        import onnx

        onnx.checker.check_model(model)
    except Exception as exc:
        raise ConversionError(
            f"tf2onnx made no valid ONNX model of {name}: {first_line(exc)}"
        ) from exc
    return model


def specs(values: Sequence[Any], sources: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """Tensor specs of the file's inputs or outputs."""
    import onnx

    layouts = {source.name: source.layout for source in sources}
    return tuple(
        TensorSpec(
            value.name,
            tuple(
                dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None
                for dim in value.type.tensor_type.shape.dim
            ),
            onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name,
            layout=layouts.get(value.name, ""),
        )
        for value in values
    )


def _refuse_leftovers(model: Any, name: str) -> None:
    """tf2onnx logs operators that it does not know, and leaves them in the file as they are."""
    import onnx

    versions = {entry.domain: entry.version for entry in model.opset_import}
    unknown: dict[str, str] = {}
    for node in naming.nodes(model.graph):
        if not onnx.defs.has(node.op_type, versions.get(node.domain, 0), node.domain):
            unknown.setdefault(node.op_type.removeprefix("TFL_"), node.name)
    if unknown:
        listed = ", ".join(f"{kind} ({layer})" for kind, layer in sorted(unknown.items()))
        raise ConversionError(
            f"tf2onnx has no translation of {listed} in {name}",
            hint="Take another road to ONNX, or rewrite that part of the model.",
        )


def _copy(graph: Any, name: str, copy: str) -> None:
    """Make `copy` an output of its own; `name` stays one only where it is to."""
    import onnx

    graph.node.append(onnx.helper.make_node("Identity", [name], [copy], name=copy))
    value = next(v for v in (*graph.output, *graph.input) if v.name == name)
    graph.output.add().CopyFrom(value)
    graph.output[-1].name = copy


def _arrange(
    values: Any, what: str, sources: Sequence[TensorSpec], names: Sequence[str], model: str
) -> None:
    """Bring the graph's inputs or outputs into the source's order; dimensions that tf2onnx made
    up names for get those of the source, or none."""
    found = {value.name: value for value in values}
    if not set(found) >= set(names):
        raise ConversionError(
            f"tf2onnx gave {model} the {what} {', '.join(found)} and not {', '.join(names)}"
        )
    known = {source.name: source.shape for source in sources}
    ordered = [type(found[name]).FromString(found[name].SerializeToString()) for name in names]
    del values[:]
    values.extend(ordered)
    for value in values:
        dims = value.type.tensor_type.shape.dim
        shape = known.get(value.name, ())
        for axis, dim in enumerate(dims):
            if dim.HasField("dim_value") and dim.dim_value >= 0:
                continue
            dim.Clear()
            size = shape[axis] if len(shape) == len(dims) else None
            if isinstance(size, str):
                dim.dim_param = size
            elif size is not None:
                dim.dim_value = size
