"""Read and write ONNX models, and look into them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from convkit.errors import InputError
from convkit_nncf.structure import Graph, Node
from convkit_nncf.tool import first_line

if TYPE_CHECKING:
    import onnx

LARGE_BYTES = 1_800_000_000
"""NNCF hands the whole model over as one protobuf message, which ends at 2 GiB."""


def read(path: Path) -> onnx.ModelProto:
    """The model with its weights, and a unique name for every node.

    Nodes without a name, and those whose name is taken, are named as convkit's inspector of ONNX
    names them: recipes speak of those.

    Raises:
        InputError: not ONNX, damaged, or its external data is missing.
    """
    import onnx

    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
        if not model.graph.node:
            raise ValueError("there is no graph in it")
    except Exception as exc:  # DecodeError, ValidationError, OSError, ...
        raise InputError(
            f"{path.name} is not a valid ONNX model: {first_line(exc)}",
            hint="The file is truncated or damaged; copy or export it again.",
        ) from exc
    taken: set[str] = set()
    for index, node in enumerate(model.graph.node):
        name = node.name or f"{node.op_type}_{index}"
        if node.op_type == "Constant" and name in taken:  # no layer, so no name to keep
            name = f"Constant#{index}"
        node.name = name if name not in taken else f"{name}#{index}"
        taken.add(node.name)
    return model


def graph(model: onnx.ModelProto) -> Graph:
    """The model's nodes and how they hang together, without what works on constants alone."""
    weights = {tensor.name for tensor in model.graph.initializer}
    makers = {v.name: v.name for v in model.graph.input if v.name not in weights}
    found: dict[str, Node] = {}
    for node in model.graph.node:
        sources = tuple(makers[name] for name in node.input if name in makers)
        if sources:
            found[node.name] = Node(node.op_type, sources)
            makers |= dict.fromkeys(node.output, node.name)
    return found


def behind_quantizers(model: onnx.ModelProto) -> frozenset[str]:
    """Nodes with an operand that comes straight out of a DequantizeLinear."""
    real = {
        name
        for node in model.graph.node
        if node.op_type == "DequantizeLinear"
        for name in node.output
    }
    return frozenset(node.name for node in model.graph.node if real & {*node.input})
