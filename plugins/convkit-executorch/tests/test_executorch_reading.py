"""What the inspector and the runner make of files."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("executorch")

import executorch_models as models
import numpy as np
import torch

from convkit.errors import ConversionError, InputError
from convkit.inspection import Inspection
from convkit.plugin import Artifact, ReadOptions, Session, State
from convkit_executorch.flatbuffer import Reader, Schema
from convkit_executorch.inspector import ExecutorchInspector
from convkit_executorch.runner import ExecutorchRunner


def inspected(kind: str) -> Inspection:
    return ExecutorchInspector().inspect(models.FILES[kind], ReadOptions())


def opened(kind: str) -> Session:
    seen = inspected(kind)
    artifact = Artifact(models.FILES[kind], seen.state, seen.inputs, seen.outputs)
    return ExecutorchRunner().open(artifact, threads=1)


def given(batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(batch)
    return torch.rand(batch, 3, 8, 8), torch.randint(0, 8, (batch, 6))


def wanted(kind: str, batch: int) -> list[torch.Tensor]:
    program = models.program("two-ends", 64 if kind == "open" else 0)
    with torch.no_grad():
        return [tensor.detach() for tensor in program.module()(*given(batch))]


def test_float_file() -> None:
    seen = inspected("fp32")
    assert seen.state == State("executorch")
    assert [(s.name, s.shape, s.dtype) for s in seen.inputs] == [
        ("image", (1, 3, 8, 8), "float32"),
        ("ids", (1, 6), "int64"),
    ]
    assert seen.inputs[0].layout == "NCHW"
    # 3x3 kernels over 3 channels for 8 maps of 8x8, and 8 by 5.
    assert (seen.macs, seen.integer_macs) == (9 * 3 * 8 * 64 + 8 * 5, 0)
    assert seen.operators["XNNConv2d"] == 1 and seen.operators["aten::embedding"] == 1


def test_integer_file() -> None:
    seen = inspected("int8")
    assert seen.state == State("executorch", "int8")
    assert seen.integer_macs == seen.macs == inspected("fp32").macs
    weights = 9 * 3 * 8 + 8 * 5
    assert seen.parameter_bytes["int8"] == weights  # four times as many in float32
    assert seen.parameter_bytes["int32"] == 4 * (8 + 5)
    assert {x.op_type.partition("::")[2] for x in seen.layers if x.name in seen.float_islands} == {
        "embedding",
        "mean",
    }


def test_layers_are_one_graph() -> None:
    """From the inputs to the outputs, through delegated parts and portable kernels."""
    for kind in models.FILES:
        seen = inspected(kind)
        made = {s.name for s in seen.inputs}
        for layer in seen.layers:
            assert set(layer.inputs) <= made, (kind, layer)
            made |= set(layer.outputs)
        assert {s.name for s in seen.outputs} <= made, kind


def test_foreign_file_has_numbered_tensors() -> None:
    seen = inspected("portable")
    assert [s.name for s in (*seen.inputs, *seen.outputs)] == [
        "input_0",
        "input_1",
        "output_0",
        "output_1",
    ]
    assert seen.traits["delegated"] == "none"
    assert seen.macs == inspected("fp32").macs


@pytest.mark.parametrize(("kind", "decibels"), [("fp32", 100), ("portable", 100), ("int8", 25)])
def test_outputs_are_those_of_torch(kind: str, decibels: float) -> None:
    results = opened(kind).run([tensor.numpy() for tensor in given(1)])
    for result, truth in zip(results, wanted(kind, 1), strict=True):
        noise = ((result - truth.numpy()) ** 2).sum()
        assert 10 * np.log10((truth.numpy() ** 2).sum() / noise) > decibels


@pytest.mark.parametrize("batch", [1, 7, 16, 64])
def test_open_batch_has_the_room_that_the_program_states(batch: int) -> None:
    """ExecuTorch by itself would stop at 15, a guard of a heuristic in torch's convolution."""
    results = opened("open").run([tensor.numpy() for tensor in given(batch)])
    for result, truth in zip(results, wanted("open", batch), strict=True):
        assert result.shape == tuple(truth.shape)
        np.testing.assert_allclose(result, truth.numpy(), atol=1e-5)


def test_too_large_a_batch_is_refused() -> None:
    with pytest.raises(
        ConversionError, match="is 65x3x8x8; the file has room for 64x3x8x8"
    ) as info:
        opened("open").run([tensor.numpy() for tensor in given(65)])
    assert "largest" in info.value.hint


def test_wrong_shape_is_refused() -> None:
    image, ids = (tensor.numpy() for tensor in given(1))
    with pytest.raises(ConversionError, match="input image is 1x3x8x7"):
        opened("fp32").run([image[..., :7], ids])


def _cut_weights(data: bytes) -> bytes:
    return data[:-64]


def _other_delegate(data: bytes) -> bytes:
    assert data.count(b"XnnpackBackend") >= 1
    return data.replace(b"XnnpackBackend", b"AnotherBackend")


def _broken_graph(data: bytes) -> bytes:
    place = data.index(b"XH00") + 6  # offset of the graph in the delegate's data
    return data[:place] + struct.pack("<I", 0x7FFFFFFF) + data[place + 4 :]


@pytest.mark.parametrize("damage", [_cut_weights, _broken_graph])
def test_damage_is_told(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "model.pte"
    path.write_bytes(damage(models.FILES["int8"].read_bytes()))
    with pytest.raises(InputError, match="damaged"):
        ExecutorchInspector().inspect(path, ReadOptions())


def test_part_of_another_backend_is_named(tmp_path: Path) -> None:
    """What it computes is unknown, and said so; running it here is refused."""
    path = tmp_path / "model.pte"
    path.write_bytes(_other_delegate(models.FILES["int8"].read_bytes()))
    seen = ExecutorchInspector().inspect(path, ReadOptions())
    assert {x.compute for x in seen.layers if x.op_type == "AnotherBackend"} == {"unknown"}
    assert seen.state.precision == "fp32" and seen.integer_macs == 0
    artifact = Artifact(path, seen.state, seen.inputs, seen.outputs)
    with pytest.raises(ConversionError, match="AnotherBackend"):
        ExecutorchRunner().open(artifact, threads=0)


SCHEMA = """
enum Kind : short { none = 0, some = 3, }  // numbers
union Either { Leaf, Alias: Leaf }
table Leaf { old:[ubyte] (deprecated, force_align: 16); value:int; }
table Root { kind:Kind; either:Either; sizes:[uint]; name:string; absent:Leaf; }
"""


def _flatbuffer() -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder()
    name = builder.CreateString("here")
    builder.StartVector(4, 2, 4)
    builder.PrependUint32(9)
    builder.PrependUint32(8)
    sizes = builder.EndVector()
    builder.StartObject(2)
    builder.PrependInt32Slot(1, -5, 0)
    leaf = builder.EndObject()
    builder.StartObject(6)
    builder.PrependInt16Slot(0, 3, 0)
    builder.PrependUint8Slot(1, 2, 0)
    builder.PrependUOffsetTRelativeSlot(2, leaf, 0)
    builder.PrependUOffsetTRelativeSlot(3, sizes, 0)
    builder.PrependUOffsetTRelativeSlot(4, name, 0)
    builder.Finish(builder.EndObject())
    return bytes(builder.Output())


def test_flatbuffer_by_schema() -> None:
    assert Reader(_flatbuffer(), Schema.parse(SCHEMA)).root("Root") == {
        "kind": "some",
        "either_type": "Alias",
        "either": {"old": [], "value": -5},
        "sizes": [8, 9],
        "name": "here",
        "absent": None,
    }


def test_damaged_flatbuffer_ends_in_a_value_error() -> None:
    """Every byte changed in turn: either it can still be read, or it is refused, at once."""
    whole, schema = _flatbuffer(), Schema.parse(SCHEMA)
    refused = 0
    for place in range(len(whole)):
        for value in (0x00, 0x7F, 0xFF):
            data = whole[:place] + bytes([value]) + whole[place + 1 :]
            try:
                Reader(data, schema).root("Root")
            except ValueError:
                refused += 1
    assert refused > 10
