"""Says what a frozen graph is."""

from __future__ import annotations

from pathlib import Path

from convkit.plugin import Inspection, ReadOptions, State
from convkit_tensorflow import frozen, graph, safety, signatures
from convkit_tensorflow.digest import canonical_digest
from convkit_tensorflow.runtime import REQUIREMENTS, tensorflow


class FrozenInspector:
    """Reads GraphDef files without variables."""

    name: str = "tensorflow.inspect-frozen"
    format: str = "tf-frozen"
    requirements: tuple[str, ...] = REQUIREMENTS

    def inspect(self, path: Path, read: ReadOptions) -> Inspection:
        """See `Inspector.inspect`. The digest is that of the program; see `digest`."""
        tf = tensorflow()
        definition = frozen.parse(tf, path)
        safety.check(graph.all_nodes(definition), path.name, read.trust)
        model = frozen.load(tf, definition, path.name)
        return Inspection(
            state=State("tf-frozen"),
            inputs=tuple(signatures.spec(n, t) for n, t in model.inputs.items()),
            outputs=tuple(signatures.spec(n, t) for n, t in model.outputs.items()),
            digest=canonical_digest(tf, definition, [(n, n) for n in model.outputs]),
            operators=graph.operators(definition),
            parameter_bytes=graph.parameter_bytes(tf, definition),
            layers=graph.layers(model.graph),
            traits={
                "dynamic": any(
                    t.shape.rank is None or None in t.shape.as_list() for t in model.inputs.values()
                )
            },
        )
