"""convkit-tensorflow keeps the contracts. TensorFlow runs in workers and a child process only."""

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
from convkit.plugin import Inspector, Runner, State
from convkit.testing import (
    ConverterContract,
    FormatContract,
    InspectorContract,
    PluginContract,
    RunnerContract,
)
from convkit_tensorflow import plugin

if find_spec("tensorflow") is None:
    pytest.skip("TensorFlow is not installed", allow_module_level=True)

CONVERTERS = {c.name: c for c in plugin.convkit_converters()}
RUNNERS = {r.format: r for r in plugin.convkit_runners()}
INSPECTORS = {i.format: i for i in plugin.convkit_inspectors()}

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
        self.stem, self.body = weights(3, 3, 3, 16), weights(3, 3, 16, 32)
        self.rows, self.head = weights(12, 32), weights(32, 40)

    @tf.function
    def __call__(self, image, ids):
        x = tf.nn.relu(tf.nn.conv2d(image, self.stem, 2, "SAME"))
        x = tf.nn.relu(tf.nn.conv2d(x, self.body, 1, "SAME"))
        both = tf.reduce_mean(x, (1, 2)) + tf.reduce_mean(tf.gather(self.rows, ids), 1)
        return {"map": x, "classes": tf.matmul(both, self.head)}

module = TwoEnds()
function = module.__call__.get_concrete_function(
    image=tf.TensorSpec((1, 16, 16, 3), tf.float32, name="image"),
    ids=tf.TensorSpec((1, 6), tf.int64, name="ids"),
)
tf.saved_model.save(module, sys.argv[1], signatures=function)
"""
"""A picture and ids in, a map and a vector out; in alphabetical order they would be turned round.
Big enough for TFLite's quantizers, which leave small weights alone."""


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
def frozen(saved: Path, kit: convkit.Kit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frozen")
    made = convkit.convert(saved, to="tf-frozen", output_dir=folder, name="model", kit=kit)
    return made.outputs[0].path


class FromSaved(ConverterContract):
    @pytest.fixture
    def source(self, saved: Path) -> Path:
        return saved


class TestFreeze(FromSaved):
    edge = "tensorflow.freeze"
    tolerance = 100.0


class TestFloat32(FromSaved):
    edge = "tensorflow.tflite"
    tolerance = 100.0


class TestFloat16(FromSaved):
    edge = "tensorflow.tflite-fp16"


class TestDynamicInt8(FromSaved):
    edge = "tensorflow.tflite-dynamic"


class TestStaticInt8(FromSaved):
    edge = "tensorflow.tflite-int8"

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"io": "integer"}


class FromFrozen(ConverterContract):
    @pytest.fixture
    def source(self, frozen: Path) -> Path:
        return frozen


class TestUnfreeze(FromFrozen):
    edge = "tensorflow.unfreeze"
    tolerance = 100.0


class TestFrozenFloat32(FromFrozen):
    edge = "tensorflow.frozen-tflite"
    tolerance = 100.0


@pytest.mark.slow  # differs from the edge from tf-saved by its first step only
class TestFrozenFloat16(FromFrozen):
    edge = "tensorflow.frozen-tflite-fp16"


@pytest.mark.slow  # differs from the edge from tf-saved by its first step only
class TestFrozenDynamicInt8(FromFrozen):
    edge = "tensorflow.frozen-tflite-dynamic"


class TestFrozenStaticInt8(FromFrozen):
    edge = "tensorflow.frozen-tflite-int8"


class TestRunSaved(RunnerContract):
    @pytest.fixture
    def runner(self) -> Runner:
        return RUNNERS["tf-saved"]

    @pytest.fixture
    def source(self, saved: Path) -> Path:
        return saved


class TestRunFrozen(RunnerContract):
    @pytest.fixture
    def runner(self) -> Runner:
        return RUNNERS["tf-frozen"]

    @pytest.fixture
    def source(self, frozen: Path) -> Path:
        return frozen


class TestInspectSaved(InspectorContract):
    @pytest.fixture
    def inspector(self) -> Inspector:
        return INSPECTORS["tf-saved"]

    @pytest.fixture
    def source(self, saved: Path) -> Path:
        return saved

    @pytest.fixture
    def state(self) -> State:
        return State("tf-saved")


class TestInspectFrozen(InspectorContract):
    @pytest.fixture
    def inspector(self) -> Inspector:
        return INSPECTORS["tf-frozen"]

    @pytest.fixture
    def source(self, frozen: Path) -> Path:
        return frozen

    @pytest.fixture
    def state(self) -> State:
        return State("tf-frozen")


class TestFormatSaved(FormatContract):
    format_id = "tf-saved"

    @pytest.fixture
    def source(self, saved: Path) -> Path:
        return saved


class TestFormatFrozen(FormatContract):
    format_id = "tf-frozen"

    @pytest.fixture
    def source(self, frozen: Path) -> Path:
        return frozen


class TestPlugin(PluginContract):
    plugin = "convkit_tensorflow.plugin"


def test_every_implementation_is_here() -> None:
    """One that is added without its suite fails here."""
    assert set(CONVERTERS) == {
        "tensorflow.freeze",
        "tensorflow.unfreeze",
        "tensorflow.tflite",
        "tensorflow.tflite-fp16",
        "tensorflow.tflite-dynamic",
        "tensorflow.tflite-int8",
        "tensorflow.frozen-tflite",
        "tensorflow.frozen-tflite-fp16",
        "tensorflow.frozen-tflite-dynamic",
        "tensorflow.frozen-tflite-int8",
    }
    assert set(RUNNERS) == set(INSPECTORS) == {"tf-saved", "tf-frozen"}
