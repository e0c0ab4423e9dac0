"""Darknet's yolov3-tiny, converted by convkit, under the rules of an Edge TPU compiler."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import convkit
from convkit.api.delegates import delegates

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("tensorflow") is None, reason="TensorFlow is not installed"),
]

NETWORK = """
import sys
import tensorflow as tf

layers = tf.keras.layers


def conv(x, channels, size, plain=False):
    x = layers.Conv2D(channels, size, padding="same", use_bias=plain)(x)
    if plain:
        return x
    return layers.LeakyReLU(negative_slope=0.1)(layers.BatchNormalization()(x))


image = layers.Input((416, 416, 3), batch_size=1)
x = conv(image, 16, 3)
for channels in (32, 64, 128, 256):
    x = conv(layers.MaxPooling2D(2, 2)(x), channels, 3)
route = x
x = conv(layers.MaxPooling2D(2, 2)(x), 512, 3)
x = conv(layers.MaxPooling2D(2, 1, padding="same")(x), 1024, 3)
middle = conv(x, 256, 1)
coarse = conv(conv(middle, 512, 3), 255, 1, plain=True)
x = conv(middle, 128, 1)
x = layers.Lambda(lambda t: tf.image.resize(t, (26, 26), method="nearest"))(x)
x = layers.Concatenate()([x, route])
fine = conv(conv(x, 256, 3), 255, 1, plain=True)
tf.keras.Model(image, [coarse, fine]).export(sys.argv[1], verbose=False)
"""
MORE = "More than one subgraph is not supported"
INSIDE = {
    ("CONV_2D", 1, "Mapped to Edge TPU"),
    ("CONV_2D", 12, MORE),
    ("LEAKY_RELU", 11, "Operation not supported"),
    ("MAX_POOL_2D", 6, MORE),
    ("RESIZE_NEAREST_NEIGHBOR", 1, "Operation version not supported"),
    ("CONCATENATION", 1, MORE),
}
"""What the compiler printed of the network; its QUANTIZE operators depend on the converter."""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("darknet")
    subprocess.run(
        [sys.executable, "-c", NETWORK, str(folder / "yolov3-tiny")],
        env={**os.environ, "KERAS_HOME": str(folder / "keras")},
        check=True,
        capture_output=True,
    )
    return folder / "yolov3-tiny"


@pytest.mark.parametrize(
    ("io", "borders"),
    [
        ("integer", set()),
        (
            "float",
            {
                (
                    "QUANTIZE",
                    1,
                    "Operation is otherwise supported, but not mapped due to some unspecified "
                    "limitation",
                ),
                ("DEQUANTIZE", 2, "Operation is working on an unsupported data type"),
            },
        ),
    ],
)
def test_the_published_log(saved: Path, tmp_path: Path, io: str, borders: set[object]) -> None:
    made = convkit.convert(
        saved,
        to="tflite-int8",
        output_dir=tmp_path,
        synthetic_calibration=True,
        calibration_limit=2,
        steering=convkit.Steering(options={"io": io}),
        settings=convkit.Settings(verify=False, keep_float="none"),
    )
    (found,) = delegates(made.outputs[0].path, ["edgetpu-15"])
    assert set(found.table) == INSIDE | borders
    assert (found.mapped, found.subgraphs) == (1, 1)
