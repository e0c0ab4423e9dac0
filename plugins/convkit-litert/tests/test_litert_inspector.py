"""Reading files: numbers checked by hand, and damaged files of many kinds."""

from __future__ import annotations

from pathlib import Path

import litert_models as models
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litert_models import Converted

from convkit.errors import InputError
from convkit_litert import packing
from convkit_litert.layers import scope
from convkit_litert.model import Model, parse, unique_name


def test_detector(detector: Converted) -> None:
    found = models.inspect(detector.tflite.path)
    assert str(found.state) == "tflite"
    assert [(s.name, s.shape, s.dtype) for s in found.inputs] == [
        ("images", (1, 3, 32, 32), "float32")
    ]
    macs = {layer.name: layer.macs for layer in found.layers if layer.macs}
    assert macs["stem.0/conv_2d"] == 16 * 16 * 16 * 3 * 3 * 3
    assert macs["body.0/conv_2d"] == 8 * 8 * 32 * 16 * 3 * 3
    assert macs["box/conv_2d"] == 16 * 16 * 16 * 48
    assert found.operators["CONV_2D"] == 4
    assert found.integer_macs == 0
    assert found.float_islands == ()
    parameters = sum(p.numel() for p in detector.module.parameters())
    assert found.parameter_bytes["float32"] >= 4 * (parameters - 32)  # the norm was folded in
    names = [layer.name for layer in found.layers]
    assert len(set(names)) == len(names)
    assert next(x for x in found.layers if x.name == "score/conv_2d").scope == "score"


def test_transformer_macs(encoder: Converted) -> None:
    found = models.inspect(encoder.tflite.path)
    tokens, width = 8, 32
    linear = tokens * (3 * width * width + width * width + 2 * width * 64) + width * 5
    attention = 2 * tokens * tokens * width
    assert found.macs == linear + attention
    assert {layer.op_type for layer in found.layers if layer.macs} == {
        "FULLY_CONNECTED",
        "BATCH_MATMUL",
    }


def test_layers_are_connected_in_order(encoder: Converted) -> None:
    found = models.inspect(encoder.tflite.path)
    known = {s.name for s in found.inputs}
    for layer in found.layers:
        assert known.issuperset(layer.inputs)
        known.update(layer.outputs)
    assert known.issuperset(s.name for s in found.outputs)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("neck.up/resize_nearest_neighbor", "neck.up"),
        ("stem.conv/conv_2d#3", "stem.conv"),
        ("a.Net/a.Neck_neck/torch.nn.modules.conv.Conv2d_conv;2", "neck.conv"),
        ("a.Net/a.Neck_neck/t.BatchNorm2d_bn;;a.Net/a.Neck_neck/t.Conv2d_c;1", "neck.bn"),
        ("StatefulPartitionedCall:0", ""),
        ("/model.22/cv2.2/cv2.2.0/conv/Conv_output_nhwc", "model.22.cv2.2.0.conv"),
        ("/model.22/Concat_2_output_0", "model.22"),
        ("/model.1/conv/Conv_input_nhwc_padded", ""),
        ("/Reshape_output_0", ""),
        ("output", ""),
    ],
)
def test_scope(name: str, path: str) -> None:
    assert scope(name) == path


def test_repeated_names_are_told_apart() -> None:
    taken: set[str] = set()
    assert [unique_name(n, taken) for n in ("a", "a#1", "a", "a")] == ["a", "a#1", "a#2", "a#3"]


def test_file_with_repeated_names(detector: Converted) -> None:
    raw = packing.unpack(detector.tflite.path.read_bytes())
    for tensor in raw.subgraphs[0].tensors:
        tensor.name = b"same"
    graph = parse(packing.pack(raw)).main
    assert graph.tensors[0].name == "same"
    assert len({t.name for t in graph.tensors}) == len(graph.tensors)


def test_not_tflite(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    for content in (b"", b"TFL3", b"\0" * 64, b"PK\x03\x04" + b"x" * 100):
        path.write_bytes(content)
        with pytest.raises(InputError, match="not a TFLite file"):
            models.inspect(path)
    with pytest.raises(InputError, match="cannot be read"):
        models.inspect(tmp_path / "missing.tflite")
    with pytest.raises(InputError, match="cannot be read"):
        models.inspect(tmp_path)


def test_every_truncation_is_refused(mlp: Converted) -> None:
    data = mlp.tflite.path.read_bytes()
    for length in range(0, len(data) - 64, 37):
        with pytest.raises(InputError):
            parse(data[:length])


def _outcome(data: bytes) -> Model | None:
    try:
        return parse(data)
    except InputError:
        return None


@settings(
    max_examples=300, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(flips=st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 7)), min_size=1, max_size=8))
def test_flipped_bits(mlp: Converted, flips: list[tuple[int, int]]) -> None:
    data = bytearray(mlp.tflite.path.read_bytes())
    for position, bit in flips:
        data[position % len(data)] ^= 1 << bit
    model = _outcome(bytes(data))
    if model is not None:  # what is let through is consistent in itself
        for graph in model.subgraphs:
            for operator in graph.operators:
                assert all(-1 <= i < len(graph.tensors) for i in operator.inputs)
                assert all(0 <= i < len(graph.tensors) for i in operator.outputs)


@settings(max_examples=200, deadline=2000)
@given(junk=st.binary(max_size=2000))
def test_junk_behind_the_identifier(junk: bytes) -> None:
    with pytest.raises(InputError):
        parse(b"\x20\0\0\0TFL3" + junk)


def _damaged(data: bytes, change: object) -> bytes:
    raw = packing.unpack(data)
    change(raw)  # type: ignore[operator]
    return packing.pack(raw)


def test_damage_is_named(mlp: Converted) -> None:
    data = mlp.tflite.path.read_bytes()

    def missing_tensor(raw: object) -> None:
        raw.subgraphs[0].operators[0].inputs = [999]  # type: ignore[attr-defined]

    def short_constant(raw: object) -> None:
        constant = max(raw.buffers, key=lambda b: 0 if b.data is None else len(b.data))  # type: ignore[attr-defined]
        constant.data = constant.data[:-4]

    def unknown_operator(raw: object) -> None:
        raw.operatorCodes[0].builtinCode = 9999  # type: ignore[attr-defined]

    for change, message in (
        (missing_tensor, "missing tensor"),
        (short_constant, "a constant of .* bytes is stored in"),
        (unknown_operator, "operator code 9999"),
    ):
        with pytest.raises(InputError, match=message):
            parse(_damaged(data, change))
