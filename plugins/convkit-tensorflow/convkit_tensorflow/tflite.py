"""What all edges from SavedModel to TFLite share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from convkit.errors import ConversionError, ConvkitError, InputError
from convkit_tensorflow import graph
from convkit_tensorflow.runtime import first_line
from convkit_tensorflow.signatures import choose, input_tensors, load, output_tensors

_CONTROL_FLOW = frozenset({"While", "StatelessWhile", "If", "StatelessIf", "Case", "StatelessCase"})
_SELECT = re.compile(r"TF Select ops: (.+)")
_OPERATOR = re.compile(r"error: (?:loc\(.*\): )?('tf\S*' op .*)")
_CUSTOM = re.compile(r"Custom ops: (.+)")


def converter(tf: Any, path: Path, workdir: Path) -> tuple[Any, bool]:
    """A TFLiteConverter on the signature that convkit speaks about, for builtin operators only.

    Args:
        workdir: for a frozen copy of models that TFLiteConverter would break.

    Returns:
        The converter, and whether the model has loops or branches.

    Raises:
        InputError: the directory cannot be read as a SavedModel.
        ConversionError: it does what TFLite cannot do.
    """
    from tensorflow.python.saved_model.loader_impl import parse_saved_model

    try:
        meta = parse_saved_model(str(path)).meta_graphs[0]
        key = choose(meta.signature_def, path.name)
        types = {node.op for node in graph.all_nodes(meta.graph_def)}
        control_flow = not types.isdisjoint(_CONTROL_FLOW)
        if control_flow and "ReadVariableOp" in types:
            path = _frozen_copy(tf, path, key, workdir)
        made = tf.lite.TFLiteConverter.from_saved_model(str(path), signature_keys=[key])
        return made, control_flow
    except ConvkitError:
        raise
    except Exception as exc:
        raise InputError(
            f"{path.name} cannot be loaded as a SavedModel: {first_line(exc)}",
            hint="The directory is damaged or incomplete.",
        ) from exc


def _frozen_copy(tf: Any, path: Path, key: str, workdir: Path) -> Path:
    """The signature as a SavedModel of constants.

    TFLiteConverter 2.21 makes constants of variables outside of loops only. Those that recurrent
    layers read inside stay variables that nothing initializes: the file converts and then fails
    when it is run.

    Raises:
        ConversionError: variables change in use, so that they cannot be constants.
    """
    _loaded, function = load(tf, path)
    outputs = tuple(output_tensors(function))
    if graph.changes_variables(graph.definition_of(function)):
        raise ConversionError(
            f"{path.name} has loops and assigns variables while it runs, which TFLite cannot do",
            hint="Take another road to TFLite.",
        )
    definition, starts, ends = graph.freeze(
        tf, function, tuple(input_tensors(function)), outputs, lower=False
    )
    wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(definition, name=""), [])
    tensor = wrapped.graph.get_tensor_by_name
    module = tf.Module()
    module.signature = wrapped.prune(
        [tensor(f"{node}:0") for node in starts.values()],
        {name: tensor(f"{ends[name]}:0") for name in outputs},
    )
    copy = workdir / "frozen-saved"
    tf.saved_model.save(module, str(copy), signatures={key: module.signature})
    return copy


def failure(path: Path, exc: Exception) -> ConversionError:
    """The converter's error in one sentence; raise it `from exc`."""
    text = str(exc)
    missing = [m.group(1).strip() for m in (_SELECT.search(text), _CUSTOM.search(text)) if m]
    if missing:
        return ConversionError(
            f"TFLite has no builtin operator for {', '.join(missing)} in {path.name}",
            hint="Take another road to TFLite, or rewrite that part of the model.",
        )
    reason = _OPERATOR.search(text)
    return ConversionError(
        f"TFLiteConverter failed on {path.name}: {reason.group(1) if reason else first_line(exc)}",
        hint="Save the model with a fixed batch size." if "to be static" in text else "",
    )
