"""convkit-tf2onnx keeps the contracts. TensorFlow runs in workers and a child process only."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import convkit
from convkit.testing import ConverterContract, PluginContract
from convkit_tf2onnx import plugin

if not all(find_spec(name) for name in ("tensorflow", "tf2onnx", "onnxruntime")):
    pytest.skip("TensorFlow, tf2onnx or ONNX Runtime is not installed", allow_module_level=True)

CONVERTERS = {c.name: c for c in plugin.convkit_converters()}

WRITE = """
import sys
import numpy as np
import tensorflow as tf

rng = np.random.default_rng(0)

def weights(*shape):
    return tf.Variable(0.2 * rng.standard_normal(shape).astype(np.float32))

class TwoEnds(tf.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.rows, self.head = weights(3, 3, 3, 8), weights(12, 8), weights(8, 5)

    @tf.function
    def __call__(self, image, ids):
        x = tf.nn.relu(tf.nn.conv2d(image, self.stem, 2, "SAME"))
        both = tf.reduce_mean(x, (1, 2)) + tf.reduce_mean(tf.gather(self.rows, ids), 1)
        return {"map": x, "classes": tf.matmul(both, self.head)}

module = TwoEnds()
function = module.__call__.get_concrete_function(
    image=tf.TensorSpec((1, 16, 16, 3), tf.float32, name="image"),
    ids=tf.TensorSpec((1, 6), tf.int64, name="ids"),
)
tf.saved_model.save(module, sys.argv[1], signatures=function)
"""


@pytest.fixture(scope="module", autouse=True)
def _untouched_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keras writes settings where there are none; whether a worker lets it is then seen."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("home") / "keras"))
        yield


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "model-saved"
    done = subprocess.run(
        [sys.executable, "-c", WRITE, str(path)],
        env={**os.environ, "KERAS_HOME": str(path.parent / "keras")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return path


@pytest.fixture(scope="module")
def made(
    saved: Path, kit: convkit.Kit, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Further forms of it by their formats, made in one run: TensorFlow takes its time to load."""
    folder = tmp_path_factory.mktemp("made")
    result = convkit.convert(
        saved, to=("tf-frozen", "tflite"), output_dir=folder, name="model", kit=kit
    )
    return {output.state.format: output.path for output in result.outputs}


@pytest.fixture(scope="module")
def frozen(made: dict[str, Path]) -> Path:
    return made["tf-frozen"]


@pytest.fixture(scope="module")
def tflite(made: dict[str, Path]) -> Path:
    return made["tflite"]


class ToOnnx(ConverterContract):
    tolerance = 100.0

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"opset": 15}


class TestFromSaved(ToOnnx):
    edge = "tf2onnx.from-saved"

    @pytest.fixture
    def source(self, saved: Path) -> Path:
        return saved


class TestFromFrozen(ToOnnx):
    edge = "tf2onnx.from-frozen"

    @pytest.fixture
    def source(self, frozen: Path) -> Path:
        return frozen


class TestFromTflite(ToOnnx):
    edge = "tf2onnx.from-tflite"

    @pytest.fixture
    def source(self, tflite: Path) -> Path:
        return tflite


class TestPlugin(PluginContract):
    plugin = "convkit_tf2onnx.plugin"


def test_every_implementation_is_here() -> None:
    """One that is added without its suite fails here."""
    assert set(CONVERTERS) == {
        "tf2onnx.from-saved",
        "tf2onnx.from-frozen",
        "tf2onnx.from-tflite",
    }
