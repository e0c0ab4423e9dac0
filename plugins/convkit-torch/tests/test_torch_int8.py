"""Dynamic int8 in PyTorch: what is quantized, what the file says, and what it refuses."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402

import convkit  # noqa: E402
from convkit.errors import ConvkitError, InputError  # noqa: E402
from convkit.plugin import ReadOptions  # noqa: E402
from convkit_torch import script_file  # noqa: E402
from convkit_torch.flat import flatten  # noqa: E402
from convkit_torch.inspector import TorchInspector  # noqa: E402
from convkit_torch.packing import Packing, quantize  # noqa: E402

WIDE = Packing(per_channel=True, reduce_range=False)


def decibels(wanted: Any, found: Any) -> float:
    return float(10 * torch.log10((wanted**2).sum() / ((wanted - found) ** 2).sum()))


def program_of(module: Any, *examples: Any) -> Any:
    return torch.export.export(module.eval(), examples)


class Decoder(torch.nn.Module):
    """Queries and memory have projections of their own: slices of one packed weight."""

    def __init__(self) -> None:
        super().__init__()
        self.attend = torch.nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, query: Any, memory: Any) -> Any:
        return self.attend(query, memory, memory, need_weights=False)[0]


class Shared(torch.nn.Module):
    """One matrix is both a table and, turned, a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(30, 16)

    def forward(self, ids: Any) -> Any:
        return self.table(ids) @ self.table.weight.t()


class Bare(torch.nn.Module):
    """LSTM without biases: there is no integer kernel for it."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = torch.nn.LSTM(8, 8, bias=False, batch_first=True)
        self.head = torch.nn.Linear(8, 4)

    def forward(self, x: Any) -> Any:
        return self.head(self.lstm(x)[0])


@pytest.mark.parametrize("decomposed", [False, True])
@pytest.mark.parametrize(
    ("module", "examples", "count"),
    [
        (torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Linear(16, 4)), [(5, 8)], 2),
        (Decoder(), [(2, 3, 16), (2, 6, 16)], 3),
    ],
)
def test_linear_layers_in_every_spelling(module, examples, count, decomposed):
    inputs = [torch.randn(shape) for shape in examples]
    program = program_of(module, *inputs)
    if decomposed:
        program = program.run_decompositions()
    flat = flatten(program)
    wanted = module(*inputs)
    assert torch.allclose(flat(*inputs)[0], wanted, atol=1e-6)
    done = quantize(flat, WIDE, frozenset())
    assert len(done) == count
    assert decibels(wanted, flat(*inputs)[0]) > 30


def test_a_weight_that_is_also_a_table_stays_readable():
    ids = torch.randint(0, 30, (2, 5))
    module = Shared()
    flat = flatten(program_of(module, ids))
    assert len(quantize(flat, WIDE, frozenset())) == 1
    assert decibels(module(ids), flat(ids)[0]) > 30


def test_what_has_no_kernel_stays_in_float():
    x = torch.randn(2, 6, 8)
    module = Bare()
    flat = flatten(program_of(module, x))
    assert quantize(flat, WIDE, frozenset()) == ("linear",)


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> Path:
    from torch_two_ends import text

    return text(tmp_path_factory.mktemp("text"), batch=True)


@pytest.fixture(scope="module")
def result(text, kit, tmp_path_factory) -> Any:
    return convkit.convert(
        text, to="torch-int8-dynamic", output_dir=tmp_path_factory.mktemp("result"), kit=kit
    )


def test_the_file_describes_itself(result):
    (output,) = result.outputs
    assert output.path.name == "text-int8-dynamic.pt"
    seen = TorchInspector().inspect(output.path, ReadOptions())
    assert str(seen.state) == "torch-int8-dynamic"
    assert [s.name for s in seen.inputs] == ["ids"]
    assert not isinstance(seen.inputs[0].shape[0], int) and seen.inputs[0].shape[1] == 7
    integer = {layer.op_type for layer in seen.layers if layer.compute == "hybrid-int8"}
    kernels = {"quantized.linear_dynamic", "aten.quantized_lstm", "aten.quantized_gru"}
    assert integer == kernels
    attention = [layer for layer in seen.layers if "attention" in layer.op_type]
    assert attention and all(layer.compute == "float32" for layer in attention)
    assert seen.integer_macs > 0.8 * seen.macs
    assert seen.parameter_bytes["qint8"] > seen.parameter_bytes["float32"]


def test_the_file_says_nothing_about_its_making(result, text):
    with zipfile.ZipFile(result.outputs[0].path) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            assert b"site-packages" not in content and str(text.parent).encode() not in content


def test_any_batch_runs(result):
    loaded = torch.jit.load(str(result.outputs[0].path))
    for batch in (1, 5):
        states, scores = loaded(torch.zeros(batch, 7, dtype=torch.int64))
        assert states.shape[0] == scores.shape[0] == batch


def test_torch_s_lite_interpreter_runs_it(text, kit, tmp_path):
    from torch.jit.mobile import _load_for_lite_interpreter

    result = convkit.convert(
        text,
        to="torch-int8-dynamic",
        output_dir=tmp_path,
        steering=convkit.Steering(options={"torch.int8-dynamic.mobile": True}),
        kit=kit,
    )
    path = str(result.outputs[0].path)
    ids = torch.arange(14).reshape(2, 7)
    wanted = torch.jit.load(path)(ids)
    for a, b in zip(wanted, _load_for_lite_interpreter(path)(ids), strict=True):
        assert torch.equal(a, b)


def test_layers_are_kept_in_float_by_their_module(text, kit, tmp_path):
    result = convkit.convert(
        text,
        to="torch-int8-dynamic",
        output_dir=tmp_path,
        settings=convkit.Settings(exclude=("gru",)),
        kit=kit,
    )
    seen = TorchInspector().inspect(result.outputs[0].path, ReadOptions())
    kinds = {layer.op_type for layer in seen.layers if layer.compute == "hybrid-int8"}
    assert kinds == {"quantized.linear_dynamic", "aten.quantized_lstm"}


def test_convolutions_are_refused_before_any_work(kit, tmp_path):
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3), torch.nn.Flatten(), torch.nn.Linear(16 * 36, 4)
    )
    torch.export.save(program_of(module, torch.randn(1, 3, 8, 8)), tmp_path / "cnn.pt2")
    path, place = tmp_path / "cnn.pt2", tmp_path / "o"
    with pytest.raises(ConvkitError) as caught:
        convkit.convert(path, to="torch-int8-dynamic", output_dir=place, kit=kit)
    assert "aten.conv2d" in caught.value.hint and "no dynamic int8 kernel" in caught.value.hint


def test_a_description_that_lies_is_refused(result, tmp_path):
    source, forged = result.outputs[0].path, tmp_path / "forged.pt"
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(forged, "w") as new:
        for member in old.infolist():
            content = old.read(member)
            if member.filename.endswith("convkit.json"):
                content = content.replace(b'"float32"', b'"float16"')
            new.writestr(member, content)
    with pytest.raises(InputError, match="does not return what it says"):
        TorchInspector().inspect(forged, ReadOptions())


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"inputs": [{"name": 1}], "outputs": []}', '{"inputs": 3}']
)
def test_nonsense_is_no_description(text, tmp_path):
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/extra/convkit.json", text)
    assert script_file.read(path) is None


def test_statically_quantized_torchscript_is_called_int8(tmp_path):
    weight = torch.quantize_per_tensor(torch.randn(4, 3, 3, 3), 0.05, 0, torch.qint8)
    packed = torch.ops.quantized.conv2d_prepack(weight, None, [1, 1], [0, 0], [1, 1], 1)

    class Static(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.packed = packed

        def forward(self, x: Any) -> Any:
            q = torch.quantize_per_tensor(x, 0.05, 128, torch.quint8)
            return torch.ops.quantized.conv2d(q, self.packed, 0.1, 128).dequantize()

    path = tmp_path / "static.pt"
    torch.jit.save(torch.jit.trace(Static(), torch.randn(1, 3, 8, 8)), path)
    seen = TorchInspector().inspect(path, ReadOptions(shapes={"x": (1, 3, 8, 8)}))
    assert str(seen.state) == "torch-int8"
    (convolution,) = [layer for layer in seen.layers if layer.macs]
    assert convolution.compute == "uint8" and convolution.macs == 4 * 36 * 27


def test_layers_of_any_torchscript_are_counted(tmp_path):
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.ConvTranspose2d(4, 2, 2, stride=2)
    ).eval()
    path = tmp_path / "plain.pt"
    torch.jit.save(torch.jit.trace(module, torch.randn(1, 3, 8, 8)), path)
    seen = TorchInspector().inspect(path, ReadOptions(shapes={"input": (1, 3, 8, 8)}))
    program = torch.export.export(module, (torch.randn(1, 3, 8, 8),))
    from convkit_torch.layers import program_layers

    wanted = program_layers(program)
    assert seen.macs == sum(layer.macs for layer in wanted)
    assert np.sum([x.parameter_count for x in seen.layers]) == sum(
        p.numel() for p in module.parameters()
    )


class Masked(torch.nn.Module):
    """A mean over what a mask lets through: of nothing, it is no number."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(30, 16)
        self.head = torch.nn.Linear(16, 4)

    def forward(self, ids: Any, mask: Any) -> Any:
        weights = mask.unsqueeze(-1).to(torch.float32)
        return self.head((self.table(ids) * weights).sum(1) / weights.sum(1))


def test_a_mask_of_zeros_is_not_held_against_a_model(kit: convkit.Kit, tmp_path: Path) -> None:
    ids, mask = torch.arange(12).reshape(2, 6), torch.ones(2, 6, dtype=torch.int64)
    torch.export.save(program_of(Masked(), ids, mask), tmp_path / "masked.pt2")
    samples = [{"ids": ids.numpy(), "mask": mask.numpy()}]
    made = convkit.convert(
        tmp_path / "masked.pt2",
        to="torch-int8-dynamic",
        calibration=samples,
        output_dir=tmp_path,
        kit=kit,
    )
    assert made.verification is not None
    assert made.verification.verdict == "ok"
