"""Read an ONNX file and its external data, safely."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convkit.errors import ConvkitError, InputError, UnsafeError

if TYPE_CHECKING:
    import onnx

LARGE_BYTES = 1_800_000_000
"""Above this size of weights a model does not fit one protobuf message (2 GiB)."""

_DAMAGED = "The file is truncated or damaged; copy or export it again."


def load(path: Path) -> onnx.ModelProto:
    """The whole model with its weights in memory.

    Raises:
        InputError: not ONNX, truncated, damaged, or its external data is missing or too short.
        UnsafeError: its external data lies outside the model's folder.
    """
    import onnx

    model = load_graph(path)
    check_external_data(model, path)
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
        # The checker serializes the model, which protobuf allows up to 2 GiB only.
        weights = sum(len(tensor.raw_data) for tensor in tensors(model))
        onnx.checker.check_model(model if weights < LARGE_BYTES else str(path))
    except ConvkitError:
        raise
    except Exception as exc:  # ValidationError, ValueError, OSError, ...
        raise InputError(f"{path.name} is not a valid ONNX model: {first_line(exc)}") from exc
    _check_sizes(model, path)
    return model


def load_graph(path: Path) -> onnx.ModelProto:
    """The model without its external data, structure unchecked.

    Raises:
        InputError: not a ModelProto.
    """
    import onnx

    if not path.is_file():
        raise InputError(f"{path} is not a file", hint="An ONNX model is a single file.")
    if path.stat().st_size == 0:
        raise InputError(f"{path.name} is empty", hint=_DAMAGED)
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as exc:  # google.protobuf.message.DecodeError and others
        raise InputError(
            f"{path.name} is not a complete ONNX file: {first_line(exc)}", hint=_DAMAGED
        ) from exc
    if not model.HasField("graph") or not model.graph.node or not model.opset_import:
        raise InputError(f"{path.name} holds no ONNX graph", hint=_DAMAGED)
    if not all(isinstance(text, str) for text in _texts(model)):
        raise InputError(f"{path.name} holds a name that is not text", hint=_DAMAGED)
    return model


def _texts(model: onnx.ModelProto) -> Iterator[object]:
    """Every text that convkit reads; protobuf hands out bytes where it is not valid UTF-8."""
    yield from (model.producer_name, model.producer_version)
    yield from (opset.domain for opset in model.opset_import)
    for graph in graphs(model.graph):
        for node in graph.node:
            yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
            yield from (attribute.name for attribute in node.attribute)
            yield from (text for prop in node.metadata_props for text in (prop.key, prop.value))
        for value in (*graph.input, *graph.output, *graph.value_info):
            yield value.name
            yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)
    for tensor in tensors(model):
        yield tensor.name
        yield from (text for item in tensor.external_data for text in (item.key, item.value))


def first_line(exc: BaseException) -> str:
    """The first non-empty line of an exception's text, shortened."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return (lines[0] if lines else type(exc).__name__)[:300]


def graphs(graph: Any) -> Iterator[Any]:
    """The graph and every graph inside its nodes' attributes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from graphs(attribute.g)
            for inner in attribute.graphs:
                yield from graphs(inner)


def tensors(model: onnx.ModelProto) -> Iterator[Any]:
    """Every constant tensor: initializers and tensor attributes, at any depth."""
    bodies = [*graphs(model.graph)]
    for graph in bodies:
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield sparse.values
            yield sparse.indices
    nodes = [n for g in bodies for n in g.node] + [n for f in model.functions for n in f.node]
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _external(model: onnx.ModelProto) -> Iterator[Any]:
    import onnx

    for tensor in tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            yield tensor


def check_external_data(model: onnx.ModelProto, path: Path) -> None:
    """Refuse external data that is not a regular file inside the model's folder.

    Raises:
        UnsafeError: an absolute path, a path upwards, or a link that leads outside.
        InputError: missing, or shorter than the model says.
    """
    folder = path.parent.resolve()
    for tensor in _external(model):
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        target = path.parent / location
        inside = target.resolve().is_relative_to(folder)
        if not location or Path(location).is_absolute() or ".." in Path(location).parts:
            inside = False
        if not inside:
            raise UnsafeError(
                f"{path.name} reads its weights from outside its own folder ({location!r})",
                hint="Copy the data beside the model and save it with relative locations.",
            )
        if not target.is_file():
            raise InputError(
                f"{path.name} keeps weights in {location!r}, which is missing",
                hint="Copy that file into the folder of the model.",
            )
        try:
            end = int(entries.get("offset", "0")) + int(entries.get("length", "0"))
        except ValueError as exc:
            raise InputError(f"{path.name} has malformed external data", hint=_DAMAGED) from exc
        if end > target.stat().st_size or end < 0:
            raise InputError(f"{location} is shorter than {path.name} says", hint=_DAMAGED)


def _check_sizes(model: onnx.ModelProto, path: Path) -> None:
    """The checker does not compare the bytes of every tensor with its shape."""
    from math import prod

    import onnx

    # Several elements share a byte.
    packed = ("INT4", "UINT4", "FLOAT4E2M1", "INT2", "UINT2", "STRING", "UNDEFINED")
    skipped = {getattr(onnx.TensorProto, name, None) for name in packed}
    for tensor in tensors(model):
        if not tensor.raw_data or tensor.data_type in skipped:
            continue
        width = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        if len(tensor.raw_data) != prod(tensor.dims) * width:
            raise InputError(
                f"{path.name} is damaged: the weight {tensor.name!r} has the wrong size",
                hint=_DAMAGED,
            )
