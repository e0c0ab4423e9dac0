"""fp16, dynamic and static int8: the truth of the name, and layers that stay in float."""

from __future__ import annotations

import hashlib
from pathlib import Path

import litert_models as models
import numpy as np
import pytest
from litert_models import Converted

from convkit.errors import CalibrationError, ConversionError, InputError, PrecisionError
from convkit.plugin import CalibrationData, LayerInfo
from convkit_litert import packing
from convkit_litert.exclusion import pattern
from convkit_litert.quantizers import DynamicInt8, Float16, StaticInt8


@pytest.mark.parametrize("name", ["detector", "encoder", "recurrent", "mlp"])
@pytest.mark.parametrize(
    ("quantizer", "decibels"), [(Float16(), 50.0), (DynamicInt8(), 25.0), (StaticInt8(), 12.0)]
)
def test_precision_is_true(
    name: str,
    quantizer: Float16 | DynamicInt8 | StaticInt8,
    decibels: float,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    model: Converted = request.getfixturevalue(name)
    before = hashlib.sha256(model.tflite.path.read_bytes()).digest()
    made = models.quantize(quantizer, model.tflite, tmp_path / "q.tflite", model.calibration)
    found = models.inspect(made.path)
    assert found.state == quantizer.target == made.state
    assert hashlib.sha256(model.tflite.path.read_bytes()).digest() == before
    assert [s.name for s in made.inputs] == [s.name for s in model.tflite.inputs]
    assert not found.traits["quantized_io"]
    outputs = models.run(made, model.sample)
    for wanted, got in zip(model.reference(), outputs, strict=True):
        assert models.sqnr(wanted, got) > decibels
    if quantizer.name.endswith("int8"):
        assert found.integer_macs >= 0.9 * found.macs


def test_static_layers_are_integer(detector: Converted, tmp_path: Path) -> None:
    made = models.quantize(
        StaticInt8(), detector.tflite, tmp_path / "q.tflite", detector.calibration
    )
    found = models.inspect(made.path)
    assert {x.compute for x in found.layers if x.macs} == {"int8"}
    assert found.float_islands == ()


def test_dynamic_layers_are_hybrid(detector: Converted, tmp_path: Path) -> None:
    made = models.quantize(DynamicInt8(), detector.tflite, tmp_path / "q.tflite")
    found = models.inspect(made.path)
    assert {x.compute for x in found.layers if x.op_type == "CONV_2D"} == {"hybrid-int8"}


def test_named_layers_stay_in_float_and_no_others(detector: Converted, tmp_path: Path) -> None:
    keep = ("stem.0/conv_2d", "score/conv_2d")
    made = models.quantize(
        StaticInt8(), detector.tflite, tmp_path / "q.tflite", detector.calibration, keep
    )
    found = models.inspect(made.path)
    assert set(found.float_islands) == set(keep)
    conv = {x.name: x.compute for x in found.layers if x.op_type == "CONV_2D"}
    assert conv["stem.0/conv_2d"] == conv["score/conv_2d"] == "float32"
    assert conv["body.0/conv_2d"] == conv["box/conv_2d"] == "int8"


def test_island_over_the_post_processing_saves_the_scores(
    detector: Converted, tmp_path: Path
) -> None:
    layers = models.inspect(detector.tflite.path).layers
    producers = {name: layer for layer in layers for name in layer.outputs}
    island: dict[str, None] = {}
    queue = [detector.tflite.outputs[0].name]
    while queue:
        layer = producers.get(queue.pop())
        if layer is not None and layer.op_type != "CONV_2D" and layer.name not in island:
            island[layer.name] = None
            queue.extend(layer.inputs)
    (reference,) = detector.reference()
    decibels = []
    for number, keep in enumerate(((), tuple(island))):
        made = models.quantize(
            StaticInt8(),
            detector.tflite,
            tmp_path / f"{number}.tflite",
            detector.calibration,
            keep,
        )
        (output,) = models.run(made, detector.sample)
        decibels.append(models.sqnr(reference[:, 4:], output[:, 4:]))
        found = models.inspect(made.path)
        assert found.integer_macs >= 0.9 * found.macs
    assert decibels[0] < 10
    assert decibels[1] > decibels[0] + 10


@pytest.mark.parametrize("quantizer", [Float16(), DynamicInt8()])
def test_recipe_of_the_weight_quantizers(
    quantizer: Float16 | DynamicInt8, detector: Converted, tmp_path: Path
) -> None:
    keep = ("stem.0/conv_2d",)
    made = models.quantize(quantizer, detector.tflite, tmp_path / "q.tflite", keep=keep)
    layers = {x.name: x for x in models.inspect(made.path).layers}
    assert layers["stem.0/conv_2d"].compute == "float32"
    assert layers["stem.0/conv_2d"].parameter_count == 16 * 3 * 9 + 16  # constants, not widened


def test_unknown_layer_names_near_misses(detector: Converted, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="'stem.0/conv2d'") as caught:
        models.quantize(
            StaticInt8(),
            detector.tflite,
            tmp_path / "q.tflite",
            detector.calibration,
            ("stem.0/conv2d",),
        )
    assert "stem.0/conv_2d" in caught.value.hint
    assert not (tmp_path / "q.tflite").exists()


def test_pattern_matches_whole_scopes_only() -> None:
    import re

    rule = re.compile(pattern([LayerInfo("a.b", "X", outputs=("a.b", "c+[1]"))]))
    assert rule.search("a.b;c+[1];")
    for other in ("a.b;", "axb;c+[1];", "z;a.b;c+[1];", "a.b;c+[1];d;", "a.b;c+[1];\n"):
        assert not rule.search(other)


def test_division_by_an_activation_stays_in_float(encoder: Converted, tmp_path: Path) -> None:
    made = models.quantize(StaticInt8(), encoder.tflite, tmp_path / "q.tflite", encoder.calibration)
    found = models.inspect(made.path)
    assert {x.compute for x in found.layers if x.op_type == "DIV"} == {"float32"}
    assert models.run(made, [encoder.sample[0], np.array([[True] + [False] * 7])])


def test_integer_io(mlp: Converted, tmp_path: Path) -> None:
    made = models.quantize(
        StaticInt8(), mlp.tflite, tmp_path / "q.tflite", mlp.calibration, io="integer"
    )
    assert [s.dtype for s in (*made.inputs, *made.outputs)] == ["int8", "int8"]
    assert made.inputs[0].scale and made.traits["quantized_io"]
    (output,) = models.run(made, mlp.sample)
    assert output.dtype == np.float32
    assert models.sqnr(mlp.reference()[0], output) > 12


def test_same_bytes_twice_and_smaller(detector: Converted, tmp_path: Path) -> None:
    for number in range(2):
        models.quantize(
            StaticInt8(), detector.tflite, tmp_path / f"{number}.tflite", detector.calibration
        )
    first = (tmp_path / "0.tflite").read_bytes()
    assert first == (tmp_path / "1.tflite").read_bytes()
    assert len(first) < 0.7 * detector.tflite.path.stat().st_size


def test_output_that_is_also_an_operand_stays_float(recurrent: Converted, tmp_path: Path) -> None:
    """The tool itself makes such an output the integer tensor of another operator."""
    layers = models.inspect(recurrent.tflite.path).layers
    hidden = recurrent.tflite.outputs[1].name
    assert any(hidden in layer.inputs for layer in layers)
    made = models.quantize(
        StaticInt8(), recurrent.tflite, tmp_path / "q.tflite", recurrent.calibration
    )
    found = models.inspect(made.path)
    assert [s.name for s in found.outputs] == [s.name for s in recurrent.tflite.outputs]
    assert {s.dtype for s in found.outputs} == {"float32"}


def test_file_without_signature_and_with_repeated_names(mlp: Converted, tmp_path: Path) -> None:
    raw = packing.unpack(mlp.tflite.path.read_bytes())
    raw.signatureDefs = None
    for tensor in raw.subgraphs[0].tensors:
        tensor.name = b"tensor"
    path = tmp_path / "bare.tflite"
    path.write_bytes(packing.pack(raw))
    found = models.inspect(path)
    bare = models.moved(mlp.tflite, path)
    keep = tuple(x.name for x in found.layers if x.macs)[1:]
    made = models.quantize(StaticInt8(), bare, tmp_path / "q.tflite", mlp.calibration, keep)
    assert models.inspect(made.path).float_islands == keep
    assert models.sqnr(mlp.reference()[0], models.run(made, mlp.sample)[0]) > 12


def test_nothing_left_to_quantize_is_not_called_int8(mlp: Converted, tmp_path: Path) -> None:
    every = tuple(x.name for x in models.inspect(mlp.tflite.path).layers)
    with pytest.raises(PrecisionError, match="not tflite-int8"):
        models.quantize(StaticInt8(), mlp.tflite, tmp_path / "q.tflite", mlp.calibration, every)
    assert not (tmp_path / "q.tflite").exists()


def test_calibration_must_fit(mlp: Converted, detector: Converted, tmp_path: Path) -> None:
    output = tmp_path / "q.tflite"
    with pytest.raises(CalibrationError, match="do not fit"):
        models.quantize(StaticInt8(), mlp.tflite, output, detector.calibration)
    missing = CalibrationData(tmp_path / "none.safetensors", 1, "0" * 64, "test")
    with pytest.raises(CalibrationError):
        models.quantize(StaticInt8(), mlp.tflite, output, missing)
    with pytest.raises(CalibrationError, match="no sample"):
        empty = models.calibration(tmp_path / "e.safetensors", [])
        models.quantize(StaticInt8(), mlp.tflite, output, empty)
    assert not output.exists()


def test_damaged_source(mlp: Converted, tmp_path: Path) -> None:
    path = tmp_path / "broken.tflite"
    path.write_bytes(mlp.tflite.path.read_bytes()[:300])
    with pytest.raises(InputError):
        models.quantize(Float16(), models.moved(mlp.tflite, path), tmp_path / "q.tflite")


def test_packing_loses_nothing(detector: Converted, tmp_path: Path) -> None:
    """A packed file holds the same graph and constants, and its constants are aligned."""
    from ai_edge_litert import schema_py_generated as schema

    data = detector.tflite.path.read_bytes()
    raw, again = packing.unpack(data), packing.unpack(packing.pack(packing.unpack(data)))
    for one, other in zip(raw.subgraphs[0].tensors, again.subgraphs[0].tensors, strict=True):
        assert (one.name, one.type, list(one.shape)) == (other.name, other.type, list(other.shape))
        ours, theirs = raw.buffers[one.buffer].data, again.buffers[other.buffer].data
        assert (ours is None) == (theirs is None)
        assert ours is None or bytes(ours) == bytes(theirs)
    packed = packing.pack(raw)
    table = schema.Model.GetRootAs(packed, 0)
    for number in range(table.BuffersLength()):
        start = table.Buffers(number)._tab.Offset(4)
        if start:
            assert table.Buffers(number)._tab.Vector(start) % 16 == 0


@pytest.mark.parametrize("name", ["detector", "encoder", "recurrent", "mlp"])
def test_sixteen_by_eight_is_closer_to_float(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    model: Converted = request.getfixturevalue(name)
    decibels = {}
    for kind in ("int8", "int16"):
        made = models.quantize(
            StaticInt8(),
            model.tflite,
            tmp_path / f"{kind}.tflite",
            model.calibration,
            activations=kind,
        )
        found = models.inspect(made.path)
        assert found.state == StaticInt8().target
        assert found.traits["activations"] == made.traits["activations"] == kind
        assert kind in {x.compute for x in found.layers if x.macs}
        pairs = zip(model.reference(), models.run(made, model.sample), strict=True)
        decibels[kind] = min(models.sqnr(wanted, got) for wanted, got in pairs)
    assert decibels["int16"] > decibels["int8"]
