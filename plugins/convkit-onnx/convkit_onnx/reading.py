"""Read an ONNX file and its external data, safely."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from convkit.errors import InputError, UnsafeError

if TYPE_CHECKING:
    import onnx

LARGE_BYTES = 1_800_000_000
"""Above this size of weights a model does not fit one protobuf message (2 GiB)."""

SMALL_BYTES = 1 << 20
"""External weights up to this size are always read: shapes are worked out from some of them."""

_CHUNK_BYTES = 1 << 24

_DAMAGED = "The file is truncated or damaged; copy or export it again."


def load(path: Path) -> onnx.ModelProto:
    """The whole model with its weights in memory.

    Raises:
        InputError: not ONNX, truncated, damaged, or its external data is missing or too short.
        UnsafeError: its external data lies outside the model's folder.
    """
    model = load_light(path)
    load_weights(model, path.parent)
    return model


def load_light(path: Path) -> onnx.ModelProto:
    """The model, checked, but with large external initializers left in their files; `content`
    reads those. So a model of any size takes little memory.

    Raises:
        InputError: not ONNX, truncated, damaged, or its external data is missing or too short.
        UnsafeError: its external data lies outside the model's folder.
    """
    return complete(load_graph(path), path)


def complete(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Check a model from `load_graph` and read what `load_light` reads; returns the same model.

    Raises:
        InputError, UnsafeError: as `load_light`.
    """
    import onnx

    check_external_data(model, path)
    try:
        # The checker looks for external data beside a path only.
        onnx.checker.check_model(str(path) if any(external(model)) else model)
    except Exception as exc:  # ValidationError, ValueError, ...
        raise InputError(f"{path.name} is not a valid ONNX model: {first_line(exc)}") from exc
    _check_sizes(model, path)
    for tensor in tensors(model, initializers=False):
        _fetch(tensor, path.parent)
    for tensor in model.graph.initializer:
        if byte_size(tensor) <= SMALL_BYTES:
            _fetch(tensor, path.parent)
    return model


def load_weights(model: onnx.ModelProto, folder: Path) -> None:
    """Read all external data into the model.

    Args:
        folder: where the model's file lies.
    """
    for tensor in tensors(model):
        _fetch(tensor, folder)


def _fetch(tensor: Any, folder: Path) -> None:
    import onnx

    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        tensor.raw_data = b"".join(content(tensor, folder))
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]


def content(tensor: Any, folder: Path) -> Iterator[bytes]:
    """The bytes of a tensor, piece by piece and the same however they are stored.

    Args:
        folder: where the model's file lies.
    """
    import onnx

    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        file, offset, left = extent(tensor)
        with (folder / file).open("rb") as data:
            data.seek(offset)
            while left > 0:
                piece = data.read(min(left, _CHUNK_BYTES))
                if not piece:
                    raise InputError(f"{file} is shorter than the model says", hint=_DAMAGED)
                left -= len(piece)
                yield piece
    elif tensor.raw_data:
        yield bytes(tensor.raw_data)
    elif tensor.data_type == onnx.TensorProto.STRING:
        yield b"\0".join(tensor.string_data)
    else:
        yield bytes(onnx.numpy_helper.to_array(tensor).tobytes())


def extent(tensor: Any) -> tuple[str, int, int]:
    """File, offset and length of external data; the length follows from the shape where the
    model does not say it.

    Raises:
        ValueError: a number that is none.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    length = int(entries["length"]) if "length" in entries else expected_bytes(tensor) or 0
    return entries.get("location", ""), int(entries.get("offset", "0")), length


def byte_size(tensor: Any) -> int:
    """Bytes of a tensor's data, wherever they are."""
    import onnx

    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return extent(tensor)[2]
    return len(tensor.raw_data) or int(tensor.ByteSize())


def weight_bytes(model: onnx.ModelProto) -> int:
    """Bytes of all constant tensors, wherever they are."""
    return sum(byte_size(tensor) for tensor in tensors(model))


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
    if not model.HasField("graph") or not _says_something(model.graph) or not model.opset_import:
        raise InputError(f"{path.name} holds no ONNX graph", hint=_DAMAGED)
    if not all(isinstance(text, str) for text in _texts(model)):
        raise InputError(f"{path.name} holds a name that is not text", hint=_DAMAGED)
    return model


def _says_something(graph: Any) -> bool:
    """Whether it has operators, or outputs that need none: constants and inputs."""
    given = {*(tensor.name for tensor in graph.initializer), *(value.name for value in graph.input)}
    outputs = [value.name for value in graph.output]
    return bool(graph.node) or (bool(outputs) and given.issuperset(outputs))


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


def tensors(model: onnx.ModelProto, *, initializers: bool = True) -> Iterator[Any]:
    """Every constant tensor: initializers and tensor attributes, at any depth.

    Args:
        initializers: those of the main graph, too.
    """
    bodies = [*graphs(model.graph)]
    for depth, graph in enumerate(bodies):
        if initializers or depth:
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


def companions(model: onnx.ModelProto) -> tuple[str, ...]:
    """The files that external data lie in, relative to the model's folder."""
    found = (e.value for t in external(model) for e in t.external_data if e.key == "location")
    return tuple(sorted({PurePath(name).as_posix() for name in found}))


def external(model: onnx.ModelProto) -> Iterator[Any]:
    """The tensors whose data lie in other files."""
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
    for tensor in external(model):
        try:
            location, offset, length = extent(tensor)
        except ValueError as exc:
            raise InputError(f"{path.name} has malformed external data", hint=_DAMAGED) from exc
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
        if offset < 0 or length < 0 or offset + length > target.stat().st_size:
            raise InputError(f"{location} is shorter than {path.name} says", hint=_DAMAGED)


def _check_sizes(model: onnx.ModelProto, path: Path) -> None:
    """The checker does not compare the bytes of every tensor with its shape."""
    import onnx

    for tensor in tensors(model):
        outside = tensor.data_location == onnx.TensorProto.EXTERNAL
        wanted = expected_bytes(tensor)
        if wanted is None or not (tensor.raw_data or outside):
            continue
        if byte_size(tensor) != wanted:
            raise InputError(
                f"{path.name} is damaged: the weight {tensor.name!r} has the wrong size",
                hint=_DAMAGED,
            )


def expected_bytes(tensor: Any) -> int | None:
    """Bytes that type and shape call for; None for types of which several share a byte."""
    from math import prod

    import onnx

    packed = ("INT4", "UINT4", "FLOAT4E2M1", "INT2", "UINT2", "STRING", "UNDEFINED")
    if tensor.data_type in {getattr(onnx.TensorProto, name, None) for name in packed}:
        return None
    width = int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    return int(prod(tensor.dims)) * width
