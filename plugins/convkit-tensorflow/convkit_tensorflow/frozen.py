"""Reading frozen graphs: shared by their inspector and their runner."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convkit.errors import InputError
from convkit_tensorflow.graph import public_name
from convkit_tensorflow.runtime import first_line

_NO_RESULT = frozenset({"Const", "Placeholder", "PlaceholderWithDefault"})


@dataclass(frozen=True)
class FrozenGraph:
    """A parsed and imported GraphDef.

    Attributes:
        inputs, outputs: public name to tf.Tensor, in the file's order. A public name is a node's
            name, or `node:1` for a further result of an operator.
    """

    definition: Any
    graph: Any
    inputs: dict[str, Any]
    outputs: dict[str, Any]


def parse(tf: Any, path: Path) -> Any:
    """The GraphDef of a file.

    Raises:
        InputError: unreadable, or not a GraphDef.
    """
    definition = tf.compat.v1.GraphDef()
    try:
        definition.ParseFromString(path.read_bytes())
    except OSError as exc:
        raise InputError(f"{path.name} cannot be read: {exc.strerror}") from exc
    except Exception as exc:
        raise InputError(
            f"{path.name} cannot be parsed as a GraphDef: {first_line(exc)}",
            hint="The file is damaged, truncated, or a SavedModel (give its directory instead).",
        ) from exc
    if not definition.node:
        raise InputError(f"{path.name} holds no operators", hint="The file may be empty.")
    return definition


def load(tf: Any, definition: Any, name: str) -> FrozenGraph:
    """Import a parsed graph; placeholders are its inputs, results that nobody takes its outputs.

    Raises:
        InputError: the graph is inconsistent, or not frozen.
    """
    graph = tf.Graph()
    try:
        with graph.as_default():
            tf.import_graph_def(definition, name="")
    except Exception as exc:
        raise InputError(
            f"the graph in {name} is damaged: {first_line(exc)}",
            hint="It may also need operators that this TensorFlow does not know.",
        ) from exc
    operations = graph.get_operations()
    variables = [o.name for o in operations if o.type in ("VarHandleOp", "VariableV2")]
    if variables:
        raise InputError(
            f"{name} is not frozen: it still holds variables, such as {variables[0]}",
            hint="Freeze it first, or give the SavedModel.",
        )
    inputs = {o.name: o.outputs[0] for o in operations if o.type == "Placeholder"}
    # Pivots of branches and loops have no reader but order other operators.
    ordering = {i[1:] for node in definition.node for i in node.input if i.startswith("^")}
    outputs = {
        public_name(tensor): tensor
        for operation in operations
        if operation.type not in _NO_RESULT and operation.name not in ordering
        for tensor in operation.outputs
        if not tensor.consumers() and not any(t.consumers() for t in operation.outputs)
    }
    if not outputs:
        raise InputError(f"{name} has no outputs", hint="Every result in it is used up.")
    return FrozenGraph(definition, graph, inputs, outputs)
