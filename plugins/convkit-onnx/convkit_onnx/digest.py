"""The canonical digest of an ONNX model: equal programs, equal digest."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx


def model_digest(model: onnx.ModelProto, folder: Path) -> str:
    """sha256 of the program: graph, opsets, functions and weights, wherever those are stored.

    Doc strings, metadata, the producer and the graph's name do not count; names of tensors and
    nodes do, since recipes refer to them.

    Args:
        model: from `reading.load` or `reading.load_light`.
        folder: where its file lies.
    """
    from convkit_onnx.reading import content

    digest = hashlib.sha256()
    for tensor in sorted(model.graph.initializer, key=lambda tensor: str(tensor.name)):
        digest.update(f"{tensor.name} {tensor.data_type} {tuple(tensor.dims)}\n".encode())
        weights = hashlib.sha256()
        for piece in content(tensor, folder):
            weights.update(piece)
        digest.update(weights.digest())
    digest.update(_without_weights(model).SerializeToString(deterministic=True))
    return digest.hexdigest()


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnx

    from convkit_onnx.reading import graphs, tensors

    bare = onnx.ModelProto()
    bare.ir_version = model.ir_version
    bare.opset_import.extend(sorted(model.opset_import, key=lambda o: (o.domain, o.version)))
    bare.functions.extend(sorted(model.functions, key=lambda f: (f.domain, f.name)))
    graph, source = bare.graph, model.graph
    for name in ("node", "input", "output", "sparse_initializer", "quantization_annotation"):
        getattr(graph, name).extend(getattr(source, name))
    for tensor in tensors(bare):
        del tensor.external_data[:]
        tensor.ClearField("data_location")
        _clear(tensor)
    for function in bare.functions:
        _clear(function)
        del function.value_info[:]
        for node in function.node:
            _clear(node)
    for inner in graphs(graph):
        _clear(inner)
        inner.ClearField("name")
        del inner.value_info[:]
        for message in (*inner.node, *inner.input, *inner.output):
            _clear(message)
    return bare


def _clear(message: Any) -> None:
    message.ClearField("doc_string")
    message.ClearField("metadata_props")
