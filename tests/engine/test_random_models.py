"""Originals that draw random numbers: nothing can be proved, and the user is told why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

import convkit
from convkit import Settings
from convkit.errors import NumericError
from convkit.verification import Verification

WORDS = "draws random numbers"


class _Noise(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x)


class _Attention(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        q = x.view(1, 1, 2, 2)
        return nn.functional.scaled_dot_product_attention(q, q, q, dropout_p=self.dropout)


def _program(module: nn.Module, path: Path) -> Path:
    torch.export.save(torch.export.export(module, (torch.randn(1, 4),)), path)
    return path


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: nn.Dropout(0.1).train(), "aten.dropout.default"),
        (lambda: nn.Dropout(0.1).eval(), None),
        (lambda: nn.Dropout(0.0).train(), None),
        (lambda: nn.RReLU().eval(), None),
        (lambda: _Noise().eval(), "aten.randn_like.default"),
        (lambda: _Attention(0.1).eval(), "aten.scaled_dot_product_attention.default"),
        (lambda: _Attention(0.0).eval(), None),
    ],
)
def test_what_draws_in_a_program(
    make: Callable[[], nn.Module], expected: str | None, tmp_path: Path
) -> None:
    found = convkit.inspect(_program(make(), tmp_path / "m.pt2"))
    assert found.traits.get("random") == expected


def _graph(path: Path, nodes: list[onnx.NodeProto], **constants: object) -> Path:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [10]) for name in "xy"]
    tensors = [numpy_helper.from_array(np.array(v), k) for k, v in constants.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    return path


@pytest.mark.parametrize("trains", [True, False])
def test_what_draws_in_a_graph(trains: bool, tmp_path: Path) -> None:
    nodes = [helper.make_node("Dropout", ["x", "share", "trains"], ["y"])]
    path = _graph(tmp_path / "m.onnx", nodes, share=np.float32(0.5), trains=trains)
    assert convkit.inspect(path).traits.get("random") == ("Dropout" if trains else None)


def test_agreement_by_luck_proves_nothing(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Bernoulli", ["x"], ["drawn"]),
        helper.make_node("Mul", ["drawn", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "x"], ["y"]),
    ]
    path = _graph(tmp_path / "m.onnx", nodes, zero=np.float32(0))
    found = convkit.convert(path, to="openvino", output_dir=tmp_path / "out").verification
    assert isinstance(found, Verification)
    assert found.verdict == "unproven"
    assert WORDS in found.problems[0]
    assert "Bernoulli" in found.problems[0]


def test_a_program_exported_in_training_mode_is_told_so(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(4, 64), nn.Dropout(0.5), nn.Linear(64, 4)).train()
    with pytest.raises(NumericError, match=WORDS) as caught:
        convkit.convert(
            _program(module, tmp_path / "m.pt2"),
            to="onnx",
            output_dir=tmp_path / "out",
            settings=Settings(reroute=False),
        )
    assert "export it in eval mode" in caught.value.message
    assert not (tmp_path / "out").exists()
