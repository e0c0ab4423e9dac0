"""Depthwise convolutions in SavedModels, which onnx2tf 2.6.9 gets wrong.

It hands `tf.nn.depthwise_conv2d` four dilations where two are taken, so that every model with such
a layer is refused, and reads TFLite's filter as if no channel had more than one result.
"""

from __future__ import annotations

from typing import Any


def depthwise_conv2d(executor: Any, op: Any, env: Any) -> None:
    """The operator as TensorFlow has it; see `states.Kernel`."""
    import tensorflow as tf
    from onnx2tf.tflite_builder.saved_model_exporter import _apply_fused_activation

    picture, weights = (executor._resolve_tensor(name, env) for name in op.inputs[:2])
    # TFLite: [1, height, width, channels x multiplier]; TensorFlow: one axis for each.
    _, height, width, results = weights.shape
    channels = results // max(1, int(op.options.get("depthMultiplier", 1)))
    value = tf.nn.depthwise_conv2d(
        picture,
        tf.reshape(weights, [height, width, channels, results // channels]),
        strides=[1, int(op.options.get("strideH", 1)), int(op.options.get("strideW", 1)), 1],
        dilations=[int(op.options.get(f"dilation{side}Factor", 1)) for side in "HW"],
        padding=str(op.options.get("padding", "SAME")).upper(),
    )
    if len(op.inputs) > 2:
        bias = executor._resolve_optional_tensor(op.inputs[2], env)
        if bias is not None:
            value = tf.nn.bias_add(value, bias)
    fused = str(op.options.get("fusedActivationFunction", "NONE"))
    executor._assign_outputs(op, [_apply_fused_activation(value, fused)], env)
