"""torch to TFLite: parity, names, order, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import litert_models as models
import numpy as np
import pytest
import torch
from litert_models import Converted
from torch import Tensor, nn

from convkit.errors import ConversionError


@pytest.mark.parametrize("name", ["detector", "encoder", "many", "recurrent", "mlp"])
def test_parity(name: str, request: pytest.FixtureRequest) -> None:
    made: Converted = request.getfixturevalue(name)
    for wanted, got in zip(made.reference(), models.run(made.tflite, made.sample), strict=True):
        assert wanted.shape == got.shape
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


class _Written(nn.Module):
    """Constants written down in `forward`."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        offsets = torch.tensor([[0.5, 1.0]]).view(2, 1).expand(2, 4)
        return self.linear(x) * torch.tensor([1.0, 2.0, 3.0, 4.0]) + offsets[1]


@pytest.mark.parametrize("strict", [False, True])
def test_constants_written_in_forward(tmp_path: Path, strict: bool) -> None:
    module, example = _Written().eval(), torch.randn(1, 4)
    source = models.export(module, (example,), tmp_path / "written.pt2", strict=strict)
    made = models.to_tflite(source, tmp_path / "written.tflite")
    (got,) = models.run(made, [example.numpy()])
    with torch.inference_mode():
        np.testing.assert_allclose(got, module(example).numpy(), atol=1e-5)


def test_ids_become_int32(encoder: Converted) -> None:
    assert [s.dtype for s in encoder.source.inputs] == ["int64", "bool"]
    assert [(s.name, s.dtype) for s in encoder.tflite.inputs] == [
        ("ids", "int32"),
        ("mask", "bool"),
    ]


def test_order_and_names_of_twelve_inputs(many: Converted) -> None:
    assert [s.name for s in many.tflite.inputs] == [s.name for s in many.source.inputs]
    found = models.inspect(many.tflite.path)
    assert [s.name for s in found.inputs] == [s.name for s in many.source.inputs]
    assert len(found.outputs) == 4


def test_symbolic_batch_becomes_a_number(mlp: Converted) -> None:
    assert isinstance(mlp.source.inputs[0].shape[0], str)
    assert mlp.tflite.inputs[0].shape == (1, 6)
    assert mlp.tflite.traits["dynamic"] is False


def test_same_bytes_in_another_process_and_no_private_path(mlp: Converted, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import litert_models as m;"
        "from convkit.plugin import Artifact, State;"
        "m.to_tflite(Artifact(Path(sys.argv[1]), State('torch')), Path(sys.argv[2]))"
    )
    output = tmp_path / "again.tflite"
    subprocess.run(
        [sys.executable, "-c", code, str(mlp.source.path), str(output)],
        check=True,
        capture_output=True,
        cwd=Path(__file__).parent,
    )
    ours = models.inspect(mlp.tflite.path)
    again = output.read_bytes()
    assert models.inspect(output).layers[:-1] == ours.layers[:-1]
    assert again == mlp.tflite.path.read_bytes()
    for folder in (str(Path(__file__).parent), str(mlp.source.path.parent), sys.prefix):
        assert folder.encode() not in again


def test_operator_that_the_runtime_lacks(tmp_path: Path) -> None:
    class Sort(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.topk(2, dim=1).values

    source = models.export(Sort(), (torch.randn(1, 8, 4),), tmp_path / "s.pt2")
    with pytest.raises(ConversionError) as caught:
        models.to_tflite(source, tmp_path / "s.tflite")
    assert caught.value.__cause__ is not None
    assert not (tmp_path / "s.tflite").exists()


def test_operator_that_cannot_be_lowered(tmp_path: Path) -> None:
    class Roots(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.linalg.eigvals(x).real

    source = models.export(Roots(), (torch.randn(3, 3),), tmp_path / "r.pt2")
    with pytest.raises(ConversionError, match="litert-torch cannot convert") as caught:
        models.to_tflite(source, tmp_path / "r.tflite")
    assert caught.value.hint
    assert not (tmp_path / "r.tflite").exists()


def test_damaged_archive(tmp_path: Path, mlp: Converted) -> None:
    path = tmp_path / "broken.pt2"
    path.write_bytes(mlp.source.path.read_bytes()[:500])
    with pytest.raises(ConversionError, match="torch cannot load"):
        models.to_tflite(models.moved(mlp.source, path), tmp_path / "x.tflite")
