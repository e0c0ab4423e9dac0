"""Says what a SavedModel is, through its serving signature."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from convkit.errors import InputError
from convkit.plugin import Inspection, ReadOptions, State
from convkit_tensorflow import graph, safety, signatures
from convkit_tensorflow.detect import SAVED_MODEL_FILE
from convkit_tensorflow.digest import canonical_digest
from convkit_tensorflow.runtime import REQUIREMENTS, first_line, tensorflow

FLATTENED_BYTES = 2**30
"""Above this size of weights the signature is not made one graph of constants, which takes several
times its size in memory, and cannot be done at all from 2 GiB on."""


class SavedModelInspector:
    """Reads SavedModel directories.

    A signature has no order of its own: inputs and outputs are reported sorted by name.
    """

    name: str = "tensorflow.inspect-saved"
    format: str = "tf-saved"
    requirements: tuple[str, ...] = REQUIREMENTS

    def inspect(self, path: Path, read: ReadOptions) -> Inspection:
        """See `Inspector.inspect`.

        The digest is that of the program behind the signature; see `digest`. It is left empty,
        and so are layers, where an inference changes variables and where weights pass
        `FLATTENED_BYTES`.
        """
        if not (path / SAVED_MODEL_FILE).is_file():
            raise InputError(
                f"{path.name} is not a SavedModel: there is no {SAVED_MODEL_FILE} in it"
            )
        tf = tensorflow()
        message = _parse(path)
        for meta in message.meta_graphs:
            safety.check(
                graph.all_nodes(meta.graph_def), path.name, read.trust, checkpoint_allowed=True
            )
        _loaded, function = signatures.load(tf, path)
        definition = graph.definition_of(function)
        # Restoring variables is how every SavedModel loads, but no business of its signature.
        safety.check(graph.all_nodes(definition), path.name, read.trust)
        inputs = signatures.input_tensors(function)
        outputs = signatures.output_tensors(function)
        found = Inspection(
            state=State("tf-saved"),
            inputs=tuple(signatures.spec(n, t) for n, t in inputs.items()),
            outputs=tuple(signatures.spec(n, t) for n, t in outputs.items()),
            operators=graph.operators(definition),
            parameter_bytes=_with_variables(graph.parameter_bytes(tf, definition), function),
            traits={
                "dynamic": any(t.shape.rank is None or None in t.shape for t in inputs.values())
            },
            producer=_producer(message),
        )
        too_large = sum(found.parameter_bytes.values()) > FLATTENED_BYTES
        if too_large or graph.changes_variables(definition):
            return found
        try:
            flat, _, ends = graph.freeze(tf, function, tuple(inputs), tuple(outputs), lower=False)
            imported = tf.Graph()
            with imported.as_default():
                tf.import_graph_def(flat, name="")
        except Exception as exc:
            raise InputError(
                f"the signature of {path.name} cannot be read as one graph: {first_line(exc)}"
            ) from exc
        return replace(
            found,
            digest=canonical_digest(tf, flat, tuple(ends.items())),
            operators=graph.operators(flat),
            parameter_bytes=graph.parameter_bytes(tf, flat),
            layers=graph.layers(imported),
        )


def _parse(path: Path) -> Any:
    """The message that the loader itself would read, whatever files lie in the directory."""
    from tensorflow.python.saved_model.loader_impl import parse_saved_model

    try:
        message = parse_saved_model(str(path))
    except Exception as exc:
        raise InputError(
            f"{path.name} cannot be parsed as a SavedModel: {first_line(exc)}",
            hint=f"{SAVED_MODEL_FILE} is damaged or truncated.",
        ) from exc
    if not message.meta_graphs:
        raise InputError(f"{path.name} holds no graph", hint=f"{SAVED_MODEL_FILE} is damaged.")
    return message


def _with_variables(constants: Mapping[str, int], function: Any) -> dict[str, int]:
    """Bytes by dtype of the constants and of the variables that the signature uses. One whose size
    is open (a list that a loop makes longer) is state and no weight."""
    sizes = Counter(constants)
    for variable in function.graph.variables:
        if not variable.shape.is_fully_defined():
            continue
        sizes[variable.dtype.name] += math.prod(variable.shape) * variable.dtype.size
    return dict(sorted(sizes.items()))


def _producer(message: Any) -> str:
    version = message.meta_graphs[0].meta_info_def.tensorflow_version
    return f"tensorflow {version}" if version else ""
