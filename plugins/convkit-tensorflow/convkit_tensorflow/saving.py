"""Writes a graph of constants as a SavedModel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def save_constants(
    tf: Any,
    definition: Any,
    inputs: Mapping[str, tuple[str, Any]],
    outputs: Mapping[str, str],
    key: str,
    path: Path,
) -> None:
    """A SavedModel with one signature.

    Args:
        definition: a flat GraphDef without variables.
        inputs: the signature's arguments, each with the placeholder's node name in the graph and
            something that has its dtype and shape.
        outputs: the signature's results, each with the tensor's name in the graph.
        key: the signature's name.
        path: the directory to make.
    """
    starts: dict[str, Any] = {}
    ends: list[Any] = []

    def build() -> None:
        for argument, (node, tensor) in inputs.items():
            starts[node] = tf.compat.v1.placeholder(tensor.dtype, tensor.shape, name=argument)
        # A node that bears an argument's name is renamed, so results are not looked up by name.
        ends.extend(
            tf.import_graph_def(
                definition, input_map=starts, return_elements=list(outputs.values()), name=""
            )
        )

    wrapped = tf.compat.v1.wrap_function(build, [])
    module = tf.Module()
    # What is saved must be reachable from the module.
    module.signature = wrapped.prune(list(starts.values()), dict(zip(outputs, ends, strict=True)))
    # A gradient of the original code would drag its captures along; nothing here is trained.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, str(path), signatures={key: module.signature}, options=options)
