"""What OpenVINO really ran."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

openvino = pytest.importorskip("openvino")

from openvino import opset13 as operators  # noqa: E402

from convkit.plugin import Artifact, Profiler, ReadOptions  # noqa: E402
from convkit_openvino.inspector import OpenVinoInspector  # noqa: E402
from convkit_openvino.runner import OpenVinoRunner  # noqa: E402

RUNNER = OpenVinoRunner()


def network(path: Path, quantized: bool) -> Artifact:
    """Two convolutions; the first of integers if asked."""
    generator = np.random.default_rng(0)

    def conv(data: object, channels: int, name: str, few: bool) -> object:
        values = generator.standard_normal((16, channels, 3, 3)).astype(np.float32)
        weight: object = operators.constant(values)
        if few:
            data = operators.fake_quantize(data, *map(np.float32, (0, 1, 0, 1)), 256)
            weight = operators.fake_quantize(weight, *map(np.float32, (-3, 3, -3, 3)), 255)
        return operators.convolution(data, weight, [1, 1], [0, 0], [0, 0], [1, 1], name=name)

    x = operators.parameter([1, 3, 24, 24], np.float32, name="x")
    x.output(0).set_names({"x"})
    first = operators.relu(conv(x, 3, "first", quantized), name="act")
    y = operators.sigmoid(conv(first, 16, "second", False), name="end")
    y.output(0).set_names({"y"})
    openvino.save_model(openvino.Model([y], [x], "m"), path, compress_to_fp16=False)
    found = OpenVinoInspector().inspect(path, ReadOptions())
    return Artifact(path, found.state, found.inputs, found.outputs)


def profiled(artifact: Artifact, folder: Path, runs: int = 5):
    image = np.random.default_rng(0).random((1, 3, 24, 24), dtype=np.float32)
    return RUNNER.profile(artifact, [image], 1, runs, folder)


def test_a_float_model_runs_in_float(tmp_path: Path) -> None:
    assert isinstance(RUNNER, Profiler)
    found = profiled(network(tmp_path / "m.xml", quantized=False), tmp_path)
    assert found.runs == 5 and found.seconds > 0 == found.integer_seconds
    named = {name for layer in found.layers for name in layer.layers}
    assert {"first", "second"} <= named
    assert all(layer.kernel for layer in found.layers)


def test_integers_are_told_from_floats_beside_them(tmp_path: Path) -> None:
    found = profiled(network(tmp_path / "m.xml", quantized=True), tmp_path)
    by_layer = {name: kernel for kernel in found.layers for name in kernel.layers}
    assert by_layer["first"].integer, by_layer["first"]
    assert by_layer["second"].compute == "float32"
    assert 0 < found.integer_seconds < found.seconds


def test_the_slow_first_inferences_are_left_out(tmp_path: Path) -> None:
    """Counters hold means over all inferences so far; those of the warm-up are taken out."""
    found = profiled(network(tmp_path / "m.xml", quantized=True), tmp_path, runs=50)
    assert found.seconds <= 1.2 * found.wall_seconds
