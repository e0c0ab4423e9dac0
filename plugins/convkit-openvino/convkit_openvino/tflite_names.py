"""Which tensors of a TFLite file the names of its signature stand for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convkit.errors import InputError
from convkit_openvino.frontends import Names


def signature(path: Path) -> Names:
    """Public name to tensor name, of the signature of the main subgraph; empty without one.

    Raises:
        InputError: the flatbuffer is damaged.
    """
    from ai_edge_litert import schema_py_generated as schema

    try:
        model: Any = schema.Model.GetRootAs(path.read_bytes(), 0)
        graph = model.Subgraphs(0)
        for place in range(model.SignatureDefsLength()):
            found = model.SignatureDefs(place)
            if found.SubgraphIndex() == 0:
                return Names(
                    _tensors(graph, found.Inputs, found.InputsLength()),
                    _tensors(graph, found.Outputs, found.OutputsLength()),
                )
    except Exception as exc:  # struct.error, TypeError, ...: offsets that lead nowhere
        raise InputError(f"{path.name} is damaged: its signature cannot be read") from exc
    return Names()


def _tensors(graph: Any, entry: Any, count: int) -> dict[str, str]:
    entries = [entry(place) for place in range(count)]
    return {e.Name().decode(): graph.Tensors(e.TensorIndex()).Name().decode() for e in entries}
