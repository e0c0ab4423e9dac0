"""The edge tf-saved -> onnx."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from convkit.errors import ConversionError, ConvkitError, InputError
from convkit.plugin import Artifact, State
from convkit_tf2onnx import translate
from convkit_tf2onnx.edge import GraphEdge
from convkit_tf2onnx.tool import first_line

_DEFAULT = "serving_default"


class FromSaved(GraphEdge):
    """The serving signature as ONNX. Axes stay as they are (NHWC), loops become Loop or, where
    they are recurrent layers, LSTM and GRU."""

    name: str = "tf2onnx.from-saved"
    source: State = State("tf-saved")
    what: str = "SavedModel"

    def load(self, tf: Any, artifact: Artifact) -> translate.Source:
        """See `GraphEdge.load`."""
        return _load(tf, artifact)


def _load(tf: Any, artifact: Artifact) -> translate.Source:
    """The signature, frozen and folded.

    Raises:
        InputError: the directory is damaged or has no usable signature.
        ConversionError: an inference changes variables, or freezing fails.
    """
    name = artifact.path.name
    try:
        loaded = tf.saved_model.load(str(artifact.path))
    except Exception as exc:
        raise InputError(
            f"{name} cannot be loaded as a SavedModel: {first_line(exc)}",
            hint="The directory is damaged or incomplete, or it needs custom operators.",
        ) from exc
    function = loaded.signatures[_choose(loaded.signatures, name)]
    definition = function.graph.as_graph_def(use_pybind11_proto=False)
    if _changes_variables(definition):
        raise ConversionError(
            f"{name} assigns variables while it runs, which an ONNX graph cannot do"
        )
    # A signature's tensors are flattened in the order of their sorted names.
    keywords = function._arg_keywords or sorted(function.structured_input_signature[1])
    arguments = {n: t.name for n, t in zip(keywords, function.inputs, strict=False)}
    results = {
        n: t.name
        for n, t in zip(sorted(function.structured_outputs), function.outputs, strict=True)
    }
    try:
        from tf2onnx import tf_loader

        with tf.device("/cpu:0"):
            frozen, tables = tf_loader.from_trackable(
                loaded, function, list(arguments.values()), list(results.values()), False
            )
    except ConvkitError:
        raise
    except Exception as exc:
        raise ConversionError(f"tf2onnx could not freeze {name}: {first_line(exc)}") from exc
    return translate.Source(
        inputs=_ordered("inputs", artifact, [s.name for s in artifact.inputs], arguments),
        outputs=_ordered("outputs", artifact, [s.name for s in artifact.outputs], results),
        definition=frozen,
        tables=tables,
    )


def _choose(keys: Iterable[str], name: str) -> str:
    """`serving_default`, or the only signature that there is."""
    public = [key for key in keys if not key.startswith("__")]
    if _DEFAULT in public:
        return _DEFAULT
    if len(public) == 1:
        return public[0]
    raise InputError(
        f"{name} has {len(public)} signatures and none is called {_DEFAULT}",
        hint=f"Save the one to convert as {_DEFAULT}.",
    )


def _changes_variables(definition: Any) -> bool:
    """Whether an inference leaves something behind; freezing would drop it without a word."""
    nodes = [*definition.node, *(n for f in definition.library.function for n in f.node_def)]
    return any(n.op.startswith("Assign") and n.op.endswith("VariableOp") for n in nodes)


def _ordered(
    what: str, artifact: Artifact, wanted: Sequence[str], found: Mapping[str, str]
) -> dict[str, str]:
    if not wanted:
        return dict(found)
    if set(wanted) != set(found):
        raise ConversionError(
            f"{artifact.path.name} has the {what} {', '.join(found)} and not {', '.join(wanted)}"
        )
    return {name: found[name] for name in wanted}
