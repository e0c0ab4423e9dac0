"""Recurrent operators that keep no state. Runs beside onnx-tf."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def pure_cells() -> Iterator[None]:
    """Let every LSTM, GRU and RNN have a cell of its own, with its weights as constants.

    onnx-tf keeps the first cell of each kind on the handler's class and takes it for all later
    ones, of the same model and of others: it fails on an "untracked" resource, or computes with
    the weights of the first. And it keeps weights in variables of unknown shape, which the graph
    itself assigns at every call; a freezer would take their initial zeros for the weights.
    """
    from onnx_tf.handlers.backend.gru import GRU
    from onnx_tf.handlers.backend.lstm import LSTM
    from onnx_tf.handlers.backend.rnn import RNN
    from onnx_tf.handlers.backend.rnn_mixin import RNNMixin

    kinds = (LSTM, GRU, RNN)
    shared = RNNMixin.rnn
    getters = {kind: kind._custom_getter for kind in kinds}

    def rnn(cls: Any, *arguments: Any, **settings: Any) -> Any:
        cls.rnn_cell = None
        return shared.__func__(cls, *arguments, **settings)

    RNNMixin.rnn = classmethod(rnn)
    for kind, getter in getters.items():
        kind.create_variables = classmethod(_create_values)
        kind._custom_getter = classmethod(_constant(getter.__func__))
    try:
        yield
    finally:
        RNNMixin.rnn = shared
        for kind, getter in getters.items():
            del kind.create_variables  # inherited again
            kind._custom_getter = getter


class _Value:
    """Takes the place of a variable."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def assign(self, value: Any) -> None:
        self.value = value


def _create_values(
    cls: Any, handlers: Any, node: Any, init_dict: Any, var_dict: Any, callback_func: Any
) -> Any:
    """As `BackendHandler.create_variables`."""
    from onnx_tf.common import get_variable_name

    for name, (value, _) in cls.get_req_vars_template(node, init_dict).items():
        var_dict[get_variable_name(node, name)] = _Value(value)
    return var_dict


def _constant(getter: Any) -> Any:
    def get(cls: Any, *arguments: Any, **settings: Any) -> Any:
        import tensorflow as tf

        found = getter(cls, *arguments, **settings)
        if not isinstance(found, _Value):
            return found
        tensor = tf.identity(found.value)
        tensor.trainable = False  # Keras asks every weight
        return tensor

    return get
