"""Half precision and integers written out in float32: nothing else changes."""

from __future__ import annotations

from pathlib import Path

import litert_models as models
import ml_dtypes
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from litert_models import Converted

from convkit.errors import ConversionError
from convkit.plugin import Artifact, State
from convkit_litert import in_float, packing, stored
from convkit_litert.quantizers import DynamicInt8, Float16, StaticInt8
from convkit_litert.widening import Dequantize, DequantizeDynamic, Widen

WAYS = {
    "fp16": (Float16(), Widen(), {}, 140.0),
    "dynamic": (DynamicInt8(), DequantizeDynamic(), {}, 25.0),
    "int8": (StaticInt8(), Dequantize(), {}, 20.0),
    "integer ends": (StaticInt8(), Dequantize(), {"io": "integer"}, 20.0),
    "16x8": (StaticInt8(), Dequantize(), {"activations": "int16"}, 40.0),
}


def widened(edge: Widen, source: Artifact, path: Path) -> Artifact:
    assert edge.check(source, {}) == ()
    return edge.convert(source, path, {}, models.context(path.parent))


@pytest.mark.parametrize("name", ["detector", "encoder", "recurrent", "mlp"])
@pytest.mark.parametrize("way", WAYS)
def test_computes_what_the_file_did(
    way: str, name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    quantizer, edge, options, decibels = WAYS[way]
    model: Converted = request.getfixturevalue(name)
    source = models.quantize(
        quantizer, model.tflite, tmp_path / "q.tflite", model.calibration, **options
    )
    assert models.inspect(source.path).state == edge.source
    before = source.path.read_bytes()
    made = widened(edge, source, tmp_path / "float.tflite")
    assert source.path.read_bytes() == before
    found = models.inspect(made.path)
    assert found.state == made.state == State("tflite")
    assert not any("int8" in kind or "float16" in kind for kind in found.parameter_bytes)
    assert all(layer.compute in ("float32", "index") for layer in found.layers if layer.macs)
    for kind in ("inputs", "outputs"):
        specs = getattr(made, kind)
        assert [s.name for s in specs] == [s.name for s in getattr(source, kind)]
        assert not any(s.scale is not None or s.dtype == "int8" for s in specs)
    assert not made.traits["quantized_io"] and "activations" not in made.traits
    wanted = models.run(source, model.sample)
    for one, other in zip(wanted, models.run(made, model.sample), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        assert models.sqnr(one, other) > decibels


def test_rounds_as_the_integers_did(mlp: Converted, tmp_path: Path) -> None:
    """Outputs lie on the same steps, and values out of range are cut off at the same ends."""
    source = models.quantize(
        StaticInt8(), mlp.tflite, tmp_path / "q.tflite", mlp.calibration, io="integer"
    )
    made = widened(Dequantize(), source, tmp_path / "float.tflite")
    step = source.outputs[0].scale
    assert step
    far = [value * 1000 for value in mlp.sample]
    for sample in (mlp.sample, far):
        (wanted,), (got,) = models.run(source, sample), models.run(made, sample)
        assert np.abs(wanted - got).max() < 1.5 * step
        np.testing.assert_allclose(got / step, np.rint(got / step), atol=1e-3)


def test_what_only_moves_numbers_is_not_rounded_again(detector: Converted, tmp_path: Path) -> None:
    source = models.quantize(
        StaticInt8(), detector.tflite, tmp_path / "q.tflite", detector.calibration
    )
    made = widened(Dequantize(), source, tmp_path / "float.tflite")
    before = models.inspect(source.path).operators
    moving = {name for name in before if name in ("RESHAPE", "RESIZE_NEAREST_NEIGHBOR")}
    others = {name for name in before if name not in moving and name != "DEQUANTIZE"}
    assert moving
    rounded = models.inspect(made.path).operators["ROUND"]
    assert 0 < rounded <= sum(before[name] for name in others)


def test_names_without_a_signature(detector: Converted, tmp_path: Path) -> None:
    source = models.quantize(
        StaticInt8(), detector.tflite, tmp_path / "q.tflite", detector.calibration
    )
    raw = packing.unpack(source.path.read_bytes())
    raw.signatureDefs = None
    source.path.write_bytes(packing.pack(raw))
    seen = models.inspect(source.path)
    bare = models.moved(source, source.path)
    bare = type(bare)(bare.path, bare.state, seen.inputs, seen.outputs, traits=bare.traits)
    made = widened(Dequantize(), bare, tmp_path / "float.tflite")
    assert [s.name for s in made.outputs] == [s.name for s in seen.outputs]


def test_same_bytes_twice(detector: Converted, tmp_path: Path) -> None:
    source = models.quantize(
        StaticInt8(), detector.tflite, tmp_path / "q.tflite", detector.calibration
    )
    first, second = (
        widened(Dequantize(), source, tmp_path / f"{n}.tflite").path.read_bytes() for n in range(2)
    )
    assert first == second


@pytest.mark.parametrize("bits", [2, 4])
def test_narrow_integers(bits: int) -> None:
    rng = np.random.default_rng(0)
    wanted = rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (3, 8))
    each = 8 // bits
    fields = (wanted.ravel() % 2**bits).reshape(-1, each)
    packed = (fields << np.arange(0, 8, bits)).sum(axis=1).astype(np.uint8)
    tensor = schema.TensorT()
    tensor.shape = [3, 8]
    tensor.type = getattr(schema.TensorType, f"INT{bits}")
    tensor.quantization = schema.QuantizationParametersT()
    tensor.quantization.scale = [0.5, 1.0, 2.0]
    tensor.quantization.zeroPoint = [0, 0, 0]
    tensor.quantization.quantizedDimension = 0
    values = stored.values(tensor, packed)
    np.testing.assert_array_equal(values, wanted * np.array([[0.5], [1.0], [2.0]]))


def test_bfloat16() -> None:
    tensor = schema.TensorT()
    tensor.shape, tensor.type = [4], schema.TensorType.BFLOAT16
    wanted = np.array([1.5, -0.25, 3e38, 0], ml_dtypes.bfloat16)
    values = stored.values(tensor, wanted.view(np.uint8))
    np.testing.assert_array_equal(values, wanted.astype(np.float32))


def test_what_has_no_plain_form_is_named(detector: Converted, tmp_path: Path) -> None:
    source = models.quantize(
        StaticInt8(), detector.tflite, tmp_path / "q.tflite", detector.calibration
    )
    raw = packing.unpack(source.path.read_bytes())
    operator = next(o for o in raw.subgraphs[0].operators if len(o.inputs) > 2)
    raw.subgraphs[0].tensors[operator.inputs[1]].sparsity = schema.SparsityParametersT()
    source.path.write_bytes(packing.pack(raw))
    (obstacle,) = Dequantize().check(source, {})
    assert obstacle.what == "CONV_2D with weights stored sparsely"
    assert len(obstacle.layers) == 1 and obstacle.remedy


def test_too_large(detector: Converted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = models.quantize(Float16(), detector.tflite, tmp_path / "q.tflite")
    monkeypatch.setattr(in_float, "LARGEST", 1000)
    with pytest.raises(ConversionError, match="a TFLite file 2.1 GB at most"):
        widened(Widen(), source, tmp_path / "float.tflite")
    assert not (tmp_path / "float.tflite").exists()
