"""States of recurrent layers in SavedModels, which onnx2tf 2.6.9 looks for in vain.

In TFLite they are variables: without a value in the file, zero at the start, and what the layer
left in them after it. onnx2tf takes a layer's last state from its variable.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

Kernel = Callable[[Any, Any, Any], None]
"""Takes an executor, an operator and the values so far by name, to which it adds its own."""

STATES = {
    "UNIDIRECTIONAL_SEQUENCE_LSTM": ((18, 19),),
    "BIDIRECTIONAL_SEQUENCE_LSTM": ((35, 36), (37, 38)),
    "UNIDIRECTIONAL_SEQUENCE_RNN": ((4,),),
}
"""For each direction the operator's inputs that are its states, as TFLite's schema has them."""


def with_states(kernel: Kernel, places: Sequence[Sequence[int]]) -> Kernel:
    """A kernel that begins at zero, and leaves the last states behind."""

    def run(executor: Any, op: Any, env: Any) -> None:
        given = copy.copy(op)
        given.inputs = list(op.inputs)
        for place in (place for direction in places for place in direction):
            if op.inputs[place] not in env and _is_variable(executor, op.inputs[place]):
                given.inputs[place] = ""  # the kernel takes zeros
        with _recorded_scans() as scans:
            kernel(executor, given, env)
        for direction, states in zip(places, scans, strict=True):
            for place, steps in zip(direction, states, strict=True):
                if _is_variable(executor, op.inputs[place]):
                    env[op.inputs[place]] = steps[-1]

    return run


def _is_variable(executor: Any, name: str) -> bool:
    tensor = executor.model_ir.tensors.get(name)
    return tensor is not None and bool(tensor.is_variable)


@contextmanager
def _recorded_scans() -> Iterator[list[Sequence[Any]]]:
    """The states after each step of every `tf.scan`: one a direction, in the order of its steps."""
    import tensorflow as tf

    original = tf.scan
    found: list[Sequence[Any]] = []

    def scan(*arguments: Any, **settings: Any) -> Any:
        states = original(*arguments, **settings)
        found.append(states if isinstance(states, tuple) else (states,))
        return states

    tf.scan = scan
    try:
        yield found
    finally:
        tf.scan = original
