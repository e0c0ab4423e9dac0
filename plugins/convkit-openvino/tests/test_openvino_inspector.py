"""openvino.inspect: description, true precision, canonical digest, damage."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

openvino = pytest.importorskip("openvino")

import openvino_models as models  # noqa: E402
from openvino import opset13 as operators  # noqa: E402

from convkit.errors import ConvkitError, InputError  # noqa: E402
from convkit.plugin import ReadOptions  # noqa: E402
from convkit_openvino.detect import detect  # noqa: E402
from convkit_openvino.inspector import OpenVinoInspector  # noqa: E402
from convkit_openvino.plugin import convkit_converters  # noqa: E402
from convkit_openvino.scopes import scope  # noqa: E402

EDGES: Any = {converter.name: converter for converter in convkit_converters()}
inspect = models.inspect


@pytest.fixture
def cnn(tmp_path: Path) -> Path:
    pytest.importorskip("onnx")
    case = models.onnx_case("cnn", tmp_path, 1)
    return models.convert(EDGES["openvino.from-onnx"], case.artifact, tmp_path / "ir").path


def dense(path: Path, weight: Callable[[Any], Any], quantized: bool = False) -> Path:
    """One matrix product, its weight and its activations made as wished."""
    x = operators.parameter([1, 64], np.float32, name="x")
    x.output(0).set_names({"x"})
    data = x
    if quantized:
        low, high = operators.constant(np.float32(-1)), operators.constant(np.float32(1))
        data = operators.fake_quantize(x, low, high, low, high, 256)
    y = operators.matmul(data, weight(np.linspace(-1, 1, 64 * 8).reshape(64, 8)), False, False)
    y.output(0).set_names({"y"})
    model = openvino.Model([operators.result(y)], [x], "dense")
    openvino.save_model(model, path, compress_to_fp16=False)
    return path


def full(values: Any) -> Any:
    return operators.constant(values.astype(np.float32))


def half(values: Any) -> Any:
    return operators.convert(operators.constant(values.astype(np.float16)), np.float32)


def integers(values: Any) -> Any:
    stored = operators.convert(operators.constant(np.rint(values * 127).astype(np.int8)), "f32")
    return operators.multiply(stored, operators.constant(np.full((1, 8), 1 / 127, np.float32)))


def nibbles(values: Any) -> Any:
    stored = operators.constant(np.rint(values * 7).astype(np.int8), openvino.Type.i4)
    expanded = operators.convert(stored, "f32")
    return operators.multiply(expanded, operators.constant(np.full((1, 8), 1 / 7, np.float32)))


def test_description(cnn: Path) -> None:
    seen = inspect(cnn)
    assert str(seen.state) == "openvino"
    assert [(s.name, s.shape, s.dtype) for s in seen.inputs] == [
        ("image", (1, 3, 16, 16), "float32"),
        ("bias", (1, 5), "float32"),
    ]
    assert [s.name for s in seen.outputs] == ["map", "logits"]
    assert seen.traits == {"dynamic": False, "stateful": False}
    assert seen.companions == ("artifact.bin",)
    assert seen.producer.startswith("OpenVINO 20")
    assert seen.parameter_bytes["float32"] == 4 * (108 + 4 + 20)
    assert seen.operators["Convolution"] == 1
    layers = {x.op_type: x for x in seen.layers}
    assert layers["Convolution"].macs == 8 * 8 * 4 * 27
    assert layers["Convolution"].parameter_count == 108
    assert layers["Convolution"].inputs == ("image",)
    assert seen.macs == 8 * 8 * 4 * 27 + 20
    assert layers["ReLU"].outputs == ("map",)


def test_layout_is_kept(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    case = models.torch_case("cnn", tmp_path)
    made = models.convert(EDGES["openvino.from-torch"], case.artifact, tmp_path)
    assert [s.layout for s in inspect(made.path).inputs] == ["NCHW"]


def test_lstm_and_open_axes(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    case = models.onnx_case("lstm", tmp_path)
    seen = inspect(models.convert(EDGES["openvino.from-onnx"], case.artifact, tmp_path).path)
    assert seen.traits["dynamic"] is True
    assert seen.inputs[0].shape == ("batch", 5, 6)
    assert seen.macs == 5 * (28 * 6 + 28 * 7) + 21


@pytest.mark.parametrize(
    ("weight", "quantized", "precision", "compute"),
    [
        (full, False, "fp32", "float32"),
        (full, True, "fp32", "float32"),
        (half, False, "fp16", "float32"),
        (integers, False, "int8-weights", "float32"),
        (nibbles, False, "int4-weights", "float32"),
        (integers, True, "int8", "int8"),
    ],
)
def test_true_precision(
    tmp_path: Path, weight: Any, quantized: bool, precision: str, compute: str
) -> None:
    seen = inspect(dense(tmp_path / "m.xml", weight, quantized))
    assert seen.state.precision == precision
    (product,) = (x for x in seen.layers if x.op_type == "MatMul")
    assert product.compute == compute
    assert product.macs == 64 * 8
    assert seen.integer_macs == (64 * 8 if "int8" in compute else 0)
    # What expands a weight is no layer of its own.
    assert {x.op_type for x in seen.layers} <= {"MatMul", "FakeQuantize"}


def test_digest_ignores_what_does_not_compute(cnn: Path, tmp_path: Path) -> None:
    digest = inspect(cnn).digest
    other = tmp_path / "other" / "name.xml"
    other.parent.mkdir()
    text = cnn.read_text("utf-8").replace('<net name="model"', '<net name="renamed"')
    extra = '<rt_info><path value="/home/me/model.onnx" /></rt_info></net>'
    text = re.sub(r"<rt_info>(?:(?!<rt_info>).)*</rt_info>\s*</net>", extra, text, flags=re.DOTALL)
    assert "/home/me" in text
    other.write_text(text, "utf-8")
    shutil.copyfile(cnn.with_suffix(".bin"), other.with_suffix(".bin"))
    assert inspect(other).digest == digest


def test_digest_sees_weights_and_attributes(cnn: Path) -> None:
    digest = inspect(cnn).digest
    weights = cnn.with_suffix(".bin")
    content = bytearray(weights.read_bytes())
    content[3] ^= 0x80
    weights.write_bytes(content)
    changed = inspect(cnn).digest
    assert changed != digest
    text = cnn.read_text("utf-8")
    assert 'type="ReLU"' in text
    cnn.write_text(text.replace('type="ReLU"', 'type="Sigmoid"'), "utf-8")
    assert inspect(cnn).digest not in (digest, changed)


@pytest.mark.parametrize("edge", ["openvino.from-onnx", "openvino.fp16"])
def test_the_same_model_twice_is_the_same_file(tmp_path: Path, edge: str) -> None:
    pytest.importorskip("onnx")
    source = models.onnx_case("tokens", tmp_path).artifact
    if edge == "openvino.fp16":
        source = models.convert(EDGES["openvino.from-onnx"], source, tmp_path / "plain")
    first, second = (models.convert(EDGES[edge], source, tmp_path / n).path for n in "ab")
    assert first.read_bytes() == second.read_bytes()
    assert first.with_suffix(".bin").read_bytes() == second.with_suffix(".bin").read_bytes()


def test_importing_openvino_reports_nothing(tmp_path: Path) -> None:
    """Neither an id in the home, nor the package that would send it."""
    script = (
        "import sys; from convkit_openvino import runtime; runtime.without_telemetry(); "
        "import openvino.tools.ovc; assert 'openvino_telemetry' not in sys.modules"
    )
    home = {**os.environ, "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", script], env=home, check=True)
    assert not list(tmp_path.iterdir())


def test_no_path_leaks_into_the_file(cnn: Path, tmp_path: Path) -> None:
    assert str(tmp_path) not in cnn.read_text("utf-8")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("__module.model.22/aten::cat/Concat", "model.22"),
        ("__module.stem.0/convolution/aten.convolution.default/Add", "stem.0"),
        ("/backbone/stem/conv/Conv", "backbone.stem.conv"),
        ("/net/body/body.0/body.0.1/Conv", "net.body.0.body.0.1"),
        ("/Conv", ""),
        ("Relu#0", ""),
    ],
)
def test_scopes(name: str, path: str) -> None:
    assert scope(name) == path


def test_weights_missing_short_or_of_another_model(cnn: Path) -> None:
    weights = cnn.with_suffix(".bin")
    content = weights.read_bytes()
    weights.write_bytes(content[:-1])
    with pytest.raises(InputError, match="does not belong"):
        inspect(cnn)
    weights.write_bytes(content * 2)
    with pytest.raises(InputError, match="does not belong"):
        inspect(cnn)
    weights.unlink()
    with pytest.raises(InputError, match="missing"):
        inspect(cnn)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('size="432"', 'size="431"', "bytes for the shape"),
        ('offset="0"', 'offset="99999"', "does not belong"),
        ('from-layer="0"', 'from-layer="77"', "an edge leads"),
        ('element_type="f32" shape', 'element_type="q7" shape', "unknown type"),
        ("</net>", "", "not well-formed"),
        ("<net ", "<nets ", "not well-formed"),
        ('<?xml version="1.0"?>', '<!DOCTYPE net [<!ENTITY a "b">]>', "entities"),
        ('type="ReLU"', 'type="NoSuchOperator"', "OpenVINO cannot read"),
    ],
)
def test_damage_is_named(cnn: Path, old: str, new: str, why: str) -> None:
    text = cnn.read_text("utf-8")
    assert old in text
    cnn.write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(InputError, match=why):
        inspect(cnn)


def test_a_circle_is_refused(cnn: Path) -> None:
    text = cnn.read_text("utf-8")
    relu = re.search(r'<layer id="(\d+)"[^>]*type="ReLU"', text)
    assert relu
    own = re.search(rf'<edge from-layer="\d+" from-port="\d+" to-layer="{relu[1]}"', text)
    assert own
    text = text.replace(own[0], f'<edge from-layer="{relu[1]}" from-port="1" to-layer="{relu[1]}"')
    cnn.write_text(text, "utf-8")
    with pytest.raises(InputError, match="depends on itself"):
        inspect(cnn)


def test_other_xml(tmp_path: Path) -> None:
    (tmp_path / "m.xml").write_text("<html><body/></html>")
    with pytest.raises(InputError, match="not an OpenVINO IR"):
        OpenVinoInspector().inspect(tmp_path / "m.xml", ReadOptions())
    assert detect(b"<html>") is None


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_flipped_bits_give_typed_errors_or_a_description(cnn: Path, data: Any) -> None:
    whole = cnn.read_bytes()
    flipped = bytearray(whole)
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    flipped[bit // 8] ^= 1 << bit % 8
    copy = cnn.with_name("flipped.xml")
    copy.write_bytes(flipped)
    shutil.copyfile(cnn.with_suffix(".bin"), copy.with_suffix(".bin"))
    try:
        assert len(inspect(copy).digest) == 64
    except ConvkitError as error:
        assert error.message


@settings(max_examples=200, deadline=None)
@given(head=st.binary(max_size=200))
def test_detection_never_raises(head: bytes) -> None:
    assert detect(head) is None
    assert detect(b"<net " + head) is None or b"version" in head


def test_what_only_looks_fused_computes_in_float(tmp_path: Path) -> None:
    """A residual block: sums of integer products and their activations are fused, a normalization
    between two FakeQuantize is not, nor is a sum of two products."""

    def quantize(node: Any) -> Any:
        low, high = operators.constant(np.float32(-4)), operators.constant(np.float32(4))
        return operators.fake_quantize(node, low, high, low, high, 256)

    def product(node: Any) -> Any:
        values = np.linspace(-1, 1, 64).reshape(8, 8)
        return operators.matmul(node, integers(values), False, False)

    def named(node: Any, name: str) -> Any:
        node.set_friendly_name(name)
        return node

    x = operators.parameter([1, 8], np.float32, name="x")
    x.output(0).set_names({"x"})
    start = quantize(x)
    active = named(operators.gelu(product(start), "erf"), "activation")
    residual = named(operators.add(active, start), "residual")
    norm = named(
        operators.mvn(quantize(residual), np.array([1]), True, 1e-5, "INSIDE_SQRT"), "norm"
    )
    again = quantize(norm)
    both = named(operators.add(product(again), product(again)), "both")
    y = product(quantize(both))
    y.output(0).set_names({"y"})
    path = tmp_path / "m.xml"
    openvino.save_model(
        openvino.Model([operators.result(y)], [x], "block"), path, compress_to_fp16=False
    )
    computes = {layer.name: layer.compute for layer in inspect(path).layers}
    assert computes["activation"] == computes["residual"] == "int8"
    assert computes["norm"] == computes["both"] == "float32"
