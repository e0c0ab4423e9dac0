"""New nodes for a graph, written where old ones stood; what is constant is computed at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class GraphWriter:
    """Nodes that replace those of one graph.

    Attributes:
        nodes: what was written, in order.
    """

    def __init__(self, model: Any) -> None:
        """`model` has the types and ranks of its tensors, as far as they are known."""
        import onnx

        graph = model.graph
        self.nodes: list[Any] = []
        self._graph = graph
        self._constants: dict[str, Any] = {t.name: t for t in graph.initializer}
        self._constants |= {
            node.output[0]: attribute.t
            for node in graph.node
            for attribute in node.attribute
            if node.op_type == "Constant" and attribute.name == "value"
        }
        self._kinds: dict[str, int] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        for value in (*graph.input, *graph.output, *graph.value_info):
            tensor = value.type.tensor_type
            self._kinds[value.name] = tensor.elem_type
            if tensor.HasField("shape"):
                self._shapes[value.name] = tuple(d.dim_value for d in tensor.shape.dim)
        for name, tensor in self._constants.items():
            self._kinds[name] = tensor.data_type
            self._shapes[name] = tuple(tensor.dims)
        self._values: dict[str, Any] = {}
        self._aliases: dict[str, str] = {}
        self._taken = {name for node in graph.node for name in node.output}
        self._taken |= {*self._kinds, *self._constants}
        self._to_array = onnx.numpy_helper.to_array

    def kind(self, name: str) -> int:
        """The element type of a tensor; 0 where it is unknown."""
        return self._kinds.get(name, 0)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The sizes of a tensor, open ones as 0; None where not even their number is known."""
        return self._shapes.get(name)

    def value(self, name: str) -> Any:
        """The numbers of a constant; None where the tensor is none."""
        if name not in self._values and name in self._constants:
            self._values[name] = self._to_array(self._constants[name])
        return self._values.get(name)

    def constant(self, array: Any, like: str) -> str:
        """A new constant, called after another tensor."""
        import numpy as np
        import onnx

        name = self._fresh(like)
        array = np.asarray(array)
        tensor = onnx.numpy_helper.from_array(array, name)
        self._graph.initializer.append(tensor)
        self._constants[name], self._values[name] = tensor, array
        self._kinds[name], self._shapes[name] = tensor.data_type, array.shape
        return name

    def add(
        self, op_type: str, inputs: Sequence[str], like: str = "", name: str = "", **attributes: Any
    ) -> str:
        """A node of one output; its output's name.

        Args:
            like: what a new output is called after; else `name` is the output's own.
        """
        import onnx

        output = name or self._fresh(like)
        made = onnx.helper.make_node(op_type, list(inputs), [output], name=output, **attributes)
        self.nodes.append(made)
        return output

    def keep(self, node: Any) -> None:
        """An old node as it is, reading what `rename` has put in the place of old tensors."""
        copy = type(node)()
        copy.CopyFrom(node)
        for index, name in enumerate(node.input):
            copy.input[index] = self._aliases.get(name, name)
        self.nodes.append(copy)

    def rename(self, new: str, old: str) -> None:
        """Let a new tensor stand for an old one. Where the old name must stay, for an output of
        the graph or for what a loop reads, it is a copy."""
        self._aliases[old] = new
        self.add("Identity", [new], name=old)

    def finish(self) -> None:
        """Put the nodes into the graph, without those of both the old and the new that nothing
        reads any more."""
        from convkit_onnx.sorting import reads

        needed = {value.name for value in self._graph.output}
        kept: list[Any] = []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                kept.append(node)
                needed.update(reads(node))
        del self._graph.node[:]
        self._graph.node.extend(reversed(kept))
        needed.update(value.name for value in self._graph.input)
        for tensor in [t for t in self._graph.initializer if t.name not in needed]:
            self._graph.initializer.remove(tensor)
        del self._graph.value_info[:]  # of tensors that are no more

    def _fresh(self, like: str) -> str:
        name, number = f"{like}/float", 1
        while name in self._taken:
            number += 1
            name = f"{like}/float{number}"
        self._taken.add(name)
        return name
