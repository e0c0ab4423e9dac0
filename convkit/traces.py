"""What a runner's trace leaves on disk: a fingerprint of every tensor, the values of some.

numpy and safetensors are imported inside the functions: the command line must start without them.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convkit.artifact import Artifact
from convkit.nodes import Node, parents_of
from convkit.plugin.runtimes import TracedTensor
from convkit.quant import LayerInfo
from convkit.sketches import Sketch, sketch

INDEX = "trace.json"
VALUES = "trace.safetensors"
INPUT = "input"
"""What stands for the operator where a tensor is an input of the model; inputs come first."""
_SKETCHES = "sketches"


@dataclass(frozen=True)
class Trace:
    """A trace that was read back.

    Attributes:
        nodes: in execution order.
        values: the path of the file with those values that were kept, by `value/<place>`.
    """

    nodes: tuple[Node, ...]
    values: Path

    def value(self, place: int) -> Any:
        """The values of one tensor as a float32 array, None where they were not kept."""
        from safetensors import safe_open

        with safe_open(self.values, framework="numpy") as file:
            key = f"value/{place}"
            return file.get_tensor(key) if key in file.keys() else None  # noqa: SIM118


class Writer:
    """Collects the tensors of a trace."""

    def __init__(self, budget: int, only: Container[int] | None = None) -> None:
        """`budget`, `only`: see `write`."""
        self._left, self._only = budget, only
        self._entries: list[Mapping[str, Any]] = []
        self._orders: list[Any] = []
        self._values: dict[str, Any] = {}

    def add(self, tensor: TracedTensor) -> None:
        """The next tensor, in execution order."""
        import numpy as np

        place = len(self._entries)
        value = np.asarray(tensor.value, np.float32)
        found = sketch(value)
        self._orders.append(found.orders)
        self._entries.append(_entry(tensor, found))
        wanted = value.nbytes <= self._left if self._only is None else place in self._only
        if wanted:
            self._values[f"value/{place}"] = np.array(value, order="C")  # buffers may be reused
            self._left -= value.nbytes

    def save(self, folder: Path) -> int:
        """Write all of it; answers the number of tensors."""
        import numpy as np
        from safetensors.numpy import save_file

        stacked = np.stack(self._orders) if self._orders else np.zeros((0, 0, 0))
        save_file({_SKETCHES: stacked, **self._values}, folder / VALUES)
        (folder / INDEX).write_text(json.dumps(self._entries), "utf-8")
        return len(self._entries)


def write(
    tensors: Iterable[TracedTensor], folder: Path, budget: int, only: Container[int] | None = None
) -> int:
    """Write a trace; answers the number of tensors.

    Args:
        budget: bytes of values that are kept; of what does not fit only the fingerprint remains.
        only: the places of the tensors whose values are to be kept, in place of a budget.
    """
    writer = Writer(budget, only)
    for tensor in tensors:
        writer.add(tensor)
    return writer.save(folder)


def read(folder: Path, layers: Sequence[LayerInfo]) -> Trace:
    """Read a trace.

    Args:
        layers: of the model, as its inspector reports them: they say what depends on what.
    """
    from safetensors import safe_open

    entries = json.loads((folder / INDEX).read_text("utf-8"))
    with safe_open(folder / VALUES, framework="numpy") as file:
        orders = file.get_tensor(_SKETCHES)
    inputs = sum(entry["op_type"] == INPUT for entry in entries)
    parents = parents_of([entry["tensor"] for entry in entries], layers, inputs)
    nodes = tuple(
        Node(
            layer=entry["layer"],
            op_type=entry["op_type"],
            scope=entry["scope"],
            tensor=entry["tensor"],
            parents=before,
            sketch=Sketch(
                **{**entry["sketch"], "shape": tuple(entry["sketch"]["shape"])}, orders=o
            ),
        )
        for entry, before, o in zip(entries, parents, orders, strict=True)
    )
    return Trace(nodes, folder / VALUES)


def inputs_of(artifact: Artifact, arrays: Iterable[Any]) -> Iterator[TracedTensor]:
    """The model's inputs, as the beginning of its trace."""
    for spec, array in zip(artifact.inputs, arrays, strict=True):
        yield TracedTensor(spec.name, INPUT, "", array, spec.name)


def _entry(tensor: TracedTensor, found: Sketch) -> Mapping[str, Any]:
    return {
        "layer": tensor.layer,
        "op_type": tensor.op_type,
        "scope": tensor.scope,
        "tensor": tensor.tensor,
        "sketch": {
            "shape": found.shape,
            "low": found.low,
            "high": found.high,
            "mean": found.mean,
            "spread": found.spread,
            "power": found.power,
            "non_finite": found.non_finite,
        },
    }
