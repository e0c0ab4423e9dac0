"""The tracer: every operator's result, in floats, without kernels that fuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import litert_models as models
import numpy as np
import pytest
import torch
from litert_models import Converted

from convkit.errors import ConversionError, InputError
from convkit.plugin import TracedTensor, Tracer
from convkit_litert.runner import LiteRtRunner


def trace(converted: Converted) -> list[TracedTensor]:
    return list(LiteRtRunner().trace(converted.tflite, converted.sample, 1))


def test_runner_is_a_tracer() -> None:
    assert isinstance(LiteRtRunner(), Tracer)


def test_every_layer_in_execution_order(detector: Converted) -> None:
    found = models.inspect(detector.tflite.path)
    traced = trace(detector)
    names = [tensor.layer for tensor in traced]
    assert names == [layer.name for layer in found.layers if layer.compute != "index"]
    assert {t.scope for t in traced} >= {"stem.0", "box", "score"}
    assert all(t.value.dtype == np.float32 for t in traced)
    np.testing.assert_allclose(traced[-1].value, detector.reference()[0], rtol=1e-4, atol=1e-4)


def test_intermediate_values_are_the_modules_own(detector: Converted) -> None:
    seen: list[np.ndarray] = []
    handle = detector.module.box.register_forward_hook(
        lambda module, inputs, output: seen.append(output.detach().numpy())
    )
    with torch.no_grad():
        detector.module(*map(torch.from_numpy, detector.sample))
    handle.remove()
    value = next(t.value for t in trace(detector) if t.op_type == "CONV_2D" and t.scope == "box")
    np.testing.assert_allclose(np.moveaxis(value, -1, 1), seen[0], rtol=1e-4, atol=1e-4)


def test_ids_and_masks_are_left_out(encoder: Converted) -> None:
    traced = trace(encoder)
    assert traced
    index = {
        layer.name
        for layer in models.inspect(encoder.tflite.path).layers
        if layer.compute == "index"
    }
    assert not index & {t.layer for t in traced}


def test_integers_are_shown_as_floats(detector: Converted, tmp_path: Path) -> None:
    from convkit_litert.quantizers import StaticInt8

    small = models.quantize(
        StaticInt8(), detector.tflite, tmp_path / "int8.tflite", detector.calibration
    )
    exact = {t.tensor: t.value for t in trace(detector)}
    traced = {t.tensor: t.value for t in trace(replace(detector, tflite=small))}
    common = [name for name in exact if name in traced and "conv" in name]
    assert common
    for name in common:
        assert traced[name].dtype == np.float32
        assert models.sqnr(exact[name], traced[name]) > 10


def test_weights_behind_dequantize_are_no_activations(detector: Converted, tmp_path: Path) -> None:
    from convkit_litert.quantizers import Float16

    half = models.quantize(Float16(), detector.tflite, tmp_path / "fp16.tflite")
    layers = models.inspect(half.path).layers
    assert any(layer.op_type == "DEQUANTIZE" for layer in layers)
    traced = trace(replace(detector, tflite=half))
    assert not any(t.op_type == "DEQUANTIZE" for t in traced)
    exact = {t.tensor: t.value for t in trace(detector)}
    assert {t.tensor for t in traced} == set(exact)


def test_what_cannot_be_run_is_refused(detector: Converted, tmp_path: Path) -> None:
    path = tmp_path / "broken.tflite"
    path.write_bytes(detector.tflite.path.read_bytes()[:-1000])
    broken = models.moved(detector.tflite, path)
    with pytest.raises(InputError):
        list(LiteRtRunner().trace(broken, detector.sample, 1))
    with pytest.raises(ConversionError, match="inputs are needed"):
        list(LiteRtRunner().trace(detector.tflite, [], 1))
