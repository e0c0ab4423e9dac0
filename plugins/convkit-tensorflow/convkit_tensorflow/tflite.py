"""What all edges to TFLite share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from convkit.errors import ConversionError, ConvkitError, InputError
from convkit_tensorflow import graph
from convkit_tensorflow.runtime import first_line
from convkit_tensorflow.saving import save_constants
from convkit_tensorflow.signatures import choose, input_tensors, load, output_tensors

_CONTROL_FLOW = frozenset(
    {"While", "StatelessWhile", "If", "StatelessIf", "Case", "StatelessCase", "Enter", "Switch"}
)
"""The last two are how frozen graphs spell loops and branches."""
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
        if "ReadVariableOp" in types:
            path = _frozen_copy(tf, path, key, workdir, control_flow)
        made = tf.lite.TFLiteConverter.from_saved_model(str(path), signature_keys=[key])
        return made, control_flow
    except ConvkitError:
        raise
    except Exception as exc:
        raise InputError(
            f"{path.name} cannot be loaded as a SavedModel: {first_line(exc)}",
            hint="The directory is damaged or incomplete.",
        ) from exc


def _frozen_copy(tf: Any, path: Path, key: str, workdir: Path, control_flow: bool) -> Path:
    """The signature as a SavedModel of constants; the original where it changes its variables.

    TFLiteConverter 2.21 makes constants of some variables only: not of those that loops read, nor
    of those of a Keras 3 model under a signature that the user traced. These stay variables that
    nothing initializes: the file converts, and yields NaN or fails when it is run.

    Raises:
        ConversionError: variables change in use and there are loops, so that neither way works.
    """
    _loaded, function = load(tf, path)
    outputs = tuple(output_tensors(function))
    if graph.changes_variables(graph.definition_of(function)):
        if not control_flow:
            return path
        raise ConversionError(
            f"{path.name} has loops and assigns variables while it runs, which TFLite cannot do",
            hint="Take another road to TFLite.",
        )
    arguments = input_tensors(function)
    definition, starts, ends = graph.freeze(tf, function, tuple(arguments), outputs, lower=False)
    copy = workdir / "frozen-saved"
    save_constants(
        tf,
        definition,
        {name: (starts[name], tensor) for name, tensor in arguments.items()},
        {name: f"{ends[name]}:0" for name in outputs},
        key,
        copy,
    )
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
