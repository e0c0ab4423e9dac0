"""What computes TFLite's operators in SavedModels: kernels that onnx2tf 2.6.9 lacks, and kernels
that it gets wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from convkit_onnx2tf.depthwise import depthwise_conv2d
from convkit_onnx2tf.states import STATES, Kernel, with_states


@contextmanager
def kernels_mended() -> Iterator[None]:
    """Let onnx2tf use these."""
    from onnx2tf.tflite_builder import saved_model_exporter

    kernels = saved_model_exporter._REGISTERED_KERNELS
    known = saved_model_exporter.SUPPORTED_KERNEL_OP_TYPES
    originals, names = dict(kernels), set(known)
    kernels.update(_kernels(originals))
    known.update(kernels)
    try:
        yield
    finally:
        kernels.clear()
        kernels.update(originals)
        known.intersection_update(names)


def _kernels(originals: dict[str, Kernel]) -> dict[str, Kernel]:
    import tensorflow as tf

    return {
        "GELU": _elementwise(tf.nn.gelu),
        "HARD_SWISH": _elementwise(lambda x: x * tf.nn.relu6(x + 3) / 6),
        "ROUND": _elementwise(tf.math.round),
        "BITWISE_XOR": _elementwise(tf.bitwise.bitwise_xor),
        "DEPTHWISE_CONV_2D": depthwise_conv2d,
        **{name: _scalar_axis(originals[name]) for name in ("ARG_MAX", "ARG_MIN")},
        **{name: with_states(originals[name], places) for name, places in STATES.items()},
    }


def _elementwise(function: Callable[..., Any]) -> Kernel:
    def run(executor: Any, op: Any, env: Any) -> None:
        values = (executor._resolve_tensor(name, env) for name in op.inputs)
        executor._assign_outputs(op, [function(*values)], env)

    return run


def _scalar_axis(kernel: Kernel) -> Kernel:
    """TFLite's axis may be a vector of one, TensorFlow's may not."""

    def run(executor: Any, op: Any, env: Any) -> None:
        import tensorflow as tf

        axis = tf.reshape(executor._resolve_tensor(op.inputs[1], env), [])
        own = {**env, op.inputs[1]: axis}
        kernel(executor, op, own)
        env.update({name: own[name] for name in op.outputs})

    return run
