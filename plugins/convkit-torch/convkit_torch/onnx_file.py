"""What both ONNX exporters do with the tool's file: check it, scrub it, write it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convkit.errors import ConversionError
from convkit.plugin import Artifact, State, TensorSpec

if TYPE_CHECKING:
    import onnx

EXTERNAL_DATA_BYTES = 1_800_000_000
"""Above this size of weights they go to `<file>.data`; protobuf ends at 2 GiB."""

_KEPT_METADATA = ("pkg.torch.onnx.name_scopes",)


def names_for(specs: Sequence[TensorSpec]) -> list[str]:
    """The names that the exporter is asked for."""
    return [spec.name for spec in specs]


def write(
    model: onnx.ModelProto, output: Path, artifact: Artifact, opset: int, exporter: str
) -> Artifact:
    """Scrub `model`, write it to `output` and describe it.

    Raises:
        ConversionError: the tool gave another opset, or lost or renamed an input or output.
    """
    found = {o.domain: o.version for o in model.opset_import}.get("", 0)
    if found != opset:
        raise ConversionError(
            f"the {exporter} exporter was asked for opset {opset} and gave {found}",
            hint="It cannot write this model at that opset; choose another one.",
        )
    scrub(model)
    _restore_inputs(model, artifact.inputs)
    inputs = _checked("input", artifact.inputs, model.graph.input)
    outputs = _checked("output", artifact.outputs, model.graph.output)
    save(model, output)
    return replace(
        artifact,
        path=output,
        state=State("onnx"),
        inputs=inputs,
        outputs=outputs,
        traits={
            "opset": opset,
            "exporter": exporter,
            "simplified": False,
            "dynamic": any(not isinstance(d, int) for s in (*inputs, *outputs) for d in s.shape),
        },
    )


def _restore_inputs(model: onnx.ModelProto, specs: Sequence[TensorSpec]) -> None:
    """Declare again the inputs that the model does not use and a tracer dropped, in order."""
    import numpy as np
    import onnx

    found = {value.name: value for value in model.graph.input}
    if not set(found) < {spec.name for spec in specs}:
        return
    values = [
        found.get(spec.name)
        or onnx.helper.make_tensor_value_info(
            spec.name, onnx.helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype)), spec.shape
        )
        for spec in specs
    ]
    del model.graph.input[:]
    model.graph.input.extend(values)


def _checked(
    kind: str, specs: Sequence[TensorSpec], values: Sequence[Any]
) -> tuple[TensorSpec, ...]:
    """The source's specs with the dtype and shape that the file declares."""
    import onnx

    by_name = {value.name: value.type.tensor_type for value in values}
    if set(by_name) != {spec.name for spec in specs} or len(values) != len(specs):
        raise ConversionError(
            f"the exporter changed the {kind}s: wanted {[s.name for s in specs]}, "
            f"found {[v.name for v in values]}",
            hint="Try the other exporter.",
        )
    checked = []
    for spec in specs:
        tensor = by_name[spec.name]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
        if not tensor.HasField("shape"):
            shape = spec.shape
        else:
            shape = tuple(_dimension(d) for d in tensor.shape.dim)
        checked.append(replace(spec, dtype=dtype, shape=shape))
    return tuple(checked)


def _dimension(dim: Any) -> int | str | None:
    if dim.HasField("dim_value"):
        return int(dim.dim_value)
    return str(dim.dim_param) or None


def scrub(model: onnx.ModelProto) -> None:
    """Remove stack traces, source paths and class names; module scopes stay."""
    model.doc_string = ""
    model.graph.name = "main_graph"
    _scrub_metadata(model)
    for function in model.functions:
        function.doc_string = ""
        _scrub_metadata(function)
        _scrub_nodes(function.node)
    for graph in _graphs(model.graph):
        graph.doc_string = ""
        for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
            value.doc_string = ""
            _scrub_metadata(value)
        _scrub_metadata(graph)
        _scrub_nodes(graph.node)


def _scrub_nodes(nodes: Sequence[Any]) -> None:
    for node in nodes:
        node.doc_string = ""
        _scrub_metadata(node)


def _scrub_metadata(message: Any) -> None:
    kept = [p for p in message.metadata_props if p.key in _KEPT_METADATA]
    del message.metadata_props[:]
    message.metadata_props.extend(kept)


def _graphs(graph: Any) -> Iterator[Any]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    yield from _graphs(inner)


def save(model: onnx.ModelProto, output: Path) -> None:
    """Write one file, or two (`<output>` and `<output>.data`) for large weights."""
    import onnx

    weights = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    if weights > EXTERNAL_DATA_BYTES:
        onnx.save_model(
            model,
            str(output),
            save_as_external_data=True,
            all_tensors_to_one_file=True,
            location=output.name + ".data",
            size_threshold=1024,
        )
    else:
        output.write_bytes(model.SerializeToString(deterministic=True))
