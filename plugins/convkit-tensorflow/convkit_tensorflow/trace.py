"""Shows the results of all operators of a flat graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from convkit.errors import ConversionError
from convkit.plugin import TracedTensor
from convkit_tensorflow import graph
from convkit_tensorflow.runtime import first_line


def trace(
    tf: Any, definition: Any, inputs: Sequence[str], values: Sequence[Any], name: str
) -> Iterator[TracedTensor]:
    """See `Tracer.trace`. What is fetched cannot be fused away, and everything is fetched.

    Left out are results of constants alone, which are no activations, and what lies inside of
    loops and branches: a result there has no value of its own, or none at all.

    Args:
        definition: a GraphDef without variables.
        inputs: node names of its placeholders, in the order of `values`.
        name: of the file, for errors.

    Raises:
        ConversionError: TensorFlow cannot load or run it.
    """
    import numpy as np

    try:
        wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(definition, name=""), [])
        operations = _in_order(wrapped.graph.get_operations())
        shown = [
            (op, tensor)
            for op in _visible(operations)
            if op.type not in graph.PLUMBING
            for tensor in op.outputs
            if tensor.dtype.is_floating
        ]
        starts = [wrapped.graph.get_tensor_by_name(f"{node}:0") for node in inputs]
        results = wrapped.prune(starts, [tensor for _, tensor in shown])(
            *(tf.constant(v, t.dtype) for v, t in zip(values, starts, strict=True))
        )
    except Exception as exc:
        raise ConversionError(f"TensorFlow cannot trace {name}: {first_line(exc)}") from exc
    for (op, tensor), result in zip(shown, results, strict=True):
        yield TracedTensor(
            layer=op.name,
            op_type=op.type,
            scope=graph.scope(op.name),
            value=np.asarray(tf.cast(result, tf.float32).numpy()),
            tensor=graph.public_name(tensor),
        )


def _in_order(operations: Sequence[Any]) -> list[Any]:
    """Each after what it needs; a file may list them in any order, and loops close cycles."""
    result: list[Any] = []
    done: set[str] = set()
    for first in operations:
        pending = [first]
        while pending:
            op = pending[-1]
            missing = [s for s in _needs(op) if s.name not in done]
            if op.name in done or not missing:
                pending.pop()
                if op.name not in done:
                    done.add(op.name)
                    result.append(op)
            else:
                pending.extend(missing)
    return result


def _needs(op: Any) -> list[Any]:
    """Operators before this one; a loop's way back is no way forward."""
    sources = [tensor.op for tensor in op.inputs] + list(op.control_inputs)
    return [s for s in sources if s.type != "NextIteration"]


def _visible(operations: Iterable[Any]) -> Iterator[Any]:
    """Operators that run exactly once in an inference and depend on the inputs.

    TensorFlow 1 spells a loop with Enter, Merge, Switch, NextIteration and Exit, and a branch
    with Switch and Merge.
    """
    depth: dict[str, int] = {}
    constant: set[str] = set()
    for op in operations:
        needs = _needs(op)
        level = max((depth[s.name] for s in needs), default=0)
        if op.type == "Enter":
            level += 1
        elif op.type == "Exit":
            level -= 1
        elif op.type == "Switch" and op.inputs[1].op.type != "LoopCond":
            level += 1
        elif op.type == "Merge" and all(t.op.type != "NextIteration" for t in op.inputs):
            level -= 1
        depth[op.name] = level
        data = [tensor.op.name for tensor in op.inputs]
        if op.type == "Const" or (data and constant.issuperset(data)):
            constant.add(op.name)
        elif level == 0:
            yield op
