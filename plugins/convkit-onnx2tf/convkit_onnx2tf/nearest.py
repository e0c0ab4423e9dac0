"""Resizing to the nearest value, of which onnx2tf knows TFLite's way by one of its two names."""

from __future__ import annotations

from typing import Any

from convkit_onnx2tf.walking import all_nodes

_TENSORFLOW = {
    "mode": b"nearest",
    "coordinate_transformation_mode": b"tf_half_pixel_for_nn",
    "nearest_mode": b"floor",
}
_SAME = {
    "coordinate_transformation_mode": b"half_pixel",
    "nearest_mode": b"round_prefer_ceil",
}


def rename_nearest(model: Any) -> None:
    """Say `tf_half_pixel_for_nn`, which tf2onnx writes, in other words, in place.

    There output `x` takes input `floor((x + 0.5) / scale)`; by `half_pixel` it lies at
    `(x + 0.5) / scale - 0.5`, which `round_prefer_ceil` brings to the same whole number.
    """
    for node in all_nodes(model.graph):
        if node.op_type != "Resize":
            continue
        said = {attribute.name: attribute for attribute in node.attribute}
        if all(name in said and said[name].s == value for name, value in _TENSORFLOW.items()):
            for name, value in _SAME.items():
                said[name].s = value
