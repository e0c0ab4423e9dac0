"""The edge tf-frozen -> onnx."""

from __future__ import annotations

from typing import Any

from convkit.errors import ConversionError, InputError
from convkit.plugin import Artifact, State
from convkit_tf2onnx import translate
from convkit_tf2onnx.edge import GraphEdge
from convkit_tf2onnx.tool import first_line


class FromFrozen(GraphEdge):
    """A frozen graph as ONNX. Axes stay as they are (NHWC), loops become Loop or, where they are
    recurrent layers, LSTM and GRU."""

    name: str = "tf2onnx.from-frozen"
    source: State = State("tf-frozen")
    what: str = "frozen graph"

    def load(self, tf: Any, artifact: Artifact) -> translate.Source:
        """See `GraphEdge.load`."""
        return _load(tf, artifact)


def _load(tf: Any, artifact: Artifact) -> translate.Source:
    """The graph, folded by TensorFlow's own optimizer.

    Raises:
        InputError: the file is no GraphDef.
        ConversionError: it lacks the artifact's inputs or outputs, or TensorFlow cannot take it.
    """
    name = artifact.path.name
    definition = tf.compat.v1.GraphDef()
    try:
        definition.ParseFromString(artifact.path.read_bytes())
    except Exception as exc:
        raise InputError(
            f"{name} cannot be parsed as a GraphDef: {first_line(exc)}",
            hint="The file is damaged or truncated.",
        ) from exc
    if not definition.node:
        raise InputError(f"{name} holds no operators", hint="The file may be empty.")
    inputs = {spec.name: _tensor(spec.name) for spec in artifact.inputs}
    outputs = {spec.name: _tensor(spec.name) for spec in artifact.outputs}
    nodes = {node.name for node in definition.node}
    missing = [n for n in (*inputs, *outputs) if n.partition(":")[0] not in nodes]
    if missing:
        raise ConversionError(f"{name} has no tensor called {', '.join(missing)}")
    try:
        from tf2onnx import tf_loader

        # The optimizer works on a graph of TensorFlow 1, with a session around it.
        with tf.Graph().as_default() as graph, tf_loader.tf_session(graph=graph):
            tf.import_graph_def(definition, name="")
            folded = tf_loader.tf_optimize(
                list(inputs.values()), list(outputs.values()), definition
            )
    except Exception as exc:
        raise ConversionError(f"TensorFlow could not fold {name}: {first_line(exc)}") from exc
    return translate.Source(inputs, outputs, folded)


def _tensor(public: str) -> str:
    """A tensor's full name; the first result of a node bears the node's name in convkit."""
    return public if ":" in public else f"{public}:0"
