"""Axes that stay open (`--dynamic`) and axes that are fixed again (`torch.fix-shapes`)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
ort = pytest.importorskip("onnxruntime")
np = pytest.importorskip("numpy")

from convkit.errors import ConversionError, UsageError  # noqa: E402
from convkit.plugin import ReadOptions  # noqa: E402
from convkit_torch.export_program import ExportProgram  # noqa: E402
from convkit_torch.fix_shapes import FixShapes  # noqa: E402
from convkit_torch.inspector import TorchInspector  # noqa: E402
from convkit_torch.live import export_module  # noqa: E402
from convkit_torch.onnx_dynamo import OnnxDynamo  # noqa: E402
from convkit_torch.onnx_legacy import OnnxLegacy  # noqa: E402
from convkit_torch.runner import TorchRunner  # noqa: E402

FACTORY = """
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.head = torch.nn.Linear(4, 2)
    def forward(self, images, scale):
        batch = images.shape[0]
        features = self.stem(images)
        return features, self.head(features.mean((2, 3)).reshape(batch, 4)) * scale
def build():
    torch.manual_seed(0)
    return Net().eval(), (torch.zeros(1, 3, 8, 8), torch.zeros(1, 2))
"""
OPEN = {"images": (0, 2, -1), "scale": (0,)}
SIZES = ((1, 8, 8), (3, 6, 10))


@pytest.fixture
def weights(tmp_path, monkeypatch) -> Path:
    import sys

    (tmp_path / "open_factory.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("open_factory", None)
    import open_factory

    torch.save(open_factory.build()[0].state_dict(), tmp_path / "w.pth")
    return tmp_path / "w.pth"


@pytest.fixture
def net(weights) -> Any:
    import open_factory

    return open_factory.build()[0]


def expected(net, batch, height, width):
    torch.manual_seed(1)
    inputs = torch.randn(batch, 3, height, width), torch.randn(batch, 2)
    with torch.no_grad():
        return [x.numpy() for x in inputs], [y.numpy() for y in net(*inputs)]


def read_options(**changes) -> ReadOptions:
    return replace(ReadOptions(factory="open_factory:build", dynamic=OPEN), **changes)


def test_a_state_dict_stays_open_all_the_way(weights, net, artifact, context, tmp_path):
    source = artifact(weights, read_options())
    assert source.traits["dynamic"] is True
    program = ExportProgram().convert(source, tmp_path / "open.pt2", {}, context())
    seen = TorchInspector().inspect(program.path, read_options())
    assert (seen.inputs, seen.outputs) == (program.inputs, program.outputs)
    assert [isinstance(d, str) for d in program.inputs[0].shape] == [True, False, True, True]
    runs = [TorchRunner().open(program, 1).run]
    for converter, opset in ((OnnxDynamo(), 20), (OnnxLegacy(), 17)):
        output = tmp_path / f"{opset}.onnx"
        result = converter.convert(program, output, {"opset": opset}, context())
        assert result.traits["dynamic"] is True
        session = ort.InferenceSession(str(output), providers=["CPUExecutionProvider"])
        names = [s.name for s in result.inputs]
        runs.append(
            lambda arrays, s=session, n=names: s.run(None, dict(zip(n, arrays, strict=True)))
        )
    for run in runs:
        for size in SIZES:
            arrays, wanted = expected(net, *size)
            for got, want in zip(run(arrays), wanted, strict=True):
                np.testing.assert_allclose(got, want, atol=1e-5)


def test_a_live_module_keeps_axes_open(net, tmp_path):
    examples = (torch.zeros(1, 3, 8, 8), torch.zeros(1, 2))
    export_module(net, examples, tmp_path / "live.pt2", OPEN)
    program = torch.export.load(tmp_path / "live.pt2").module()
    for size in SIZES:
        arrays, wanted = expected(net, *size)
        got = program(*(torch.from_numpy(a) for a in arrays))
        np.testing.assert_allclose(got[1].detach().numpy(), wanted[1], atol=1e-5)


def test_torchscript_with_open_axes(net, artifact, context, tmp_path):
    path = tmp_path / "net.ts"
    torch.jit.save(torch.jit.script(net), path)
    shapes = {"images": (1, 3, 8, 8), "scale": (1, 2)}
    source = artifact(path, ReadOptions(shapes=shapes, dynamic=OPEN))
    assert source.traits["dynamic"] is True
    assert source.inputs[0].shape == ("images_0", 3, "images_2", "images_3")
    assert [isinstance(d, int) for d in source.outputs[0].shape] == [False, True, False, False]
    result = OnnxLegacy().convert(source, tmp_path / "o.onnx", {"opset": 17}, context())
    session = ort.InferenceSession(str(result.path), providers=["CPUExecutionProvider"])
    for size in SIZES:
        arrays, wanted = expected(net, *size)
        feeds = dict(zip([s.name for s in result.inputs], arrays, strict=True))
        for got, want in zip(session.run(None, feeds), wanted, strict=True):
            np.testing.assert_allclose(got, want, atol=1e-5)
    with pytest.raises(UsageError, match="cannot run on inputs of 1x6x8x8"):
        artifact(path, ReadOptions(shapes=shapes, dynamic={"images": (1,)}))


@pytest.mark.parametrize(
    ("dynamic", "message"),
    [({"pictures": (0,)}, "no tensor input 'pictures'"), ({"images": (4,)}, "no axis 4")],
)
def test_axes_that_do_not_exist(dynamic, message, weights):
    with pytest.raises(UsageError, match=message):
        TorchInspector().inspect(weights, read_options(dynamic=dynamic))


def test_an_axis_that_the_model_fixes(weights):
    with pytest.raises(ConversionError, match="does not take every size") as error:
        TorchInspector().inspect(weights, read_options(dynamic={"images": (1,)}))
    assert "images" in error.value.hint


def test_an_archive_cannot_be_opened_again(pt2):
    path = pt2("heads")
    with pytest.raises(UsageError, match="axis 0 of images has the fixed size 1"):
        TorchInspector().inspect(path, ReadOptions(dynamic={"images": (0,)}))


@pytest.fixture
def opened(weights, artifact, context, tmp_path):
    source = artifact(weights, read_options())
    return ExportProgram().convert(source, tmp_path / "opened.pt2", {}, context())


def test_fix_shapes(opened, net, context, tmp_path):
    stated = replace(opened, read=ReadOptions(shapes={"images": (3, 3, 6, 10)}))
    assert FixShapes().check(stated, {"batch": 1}) == ()
    turned = replace(stated, inputs=stated.inputs[::-1], outputs=stated.outputs[::-1])
    fixed = FixShapes().convert(turned, tmp_path / "fixed.pt2", {"batch": 1}, context())
    assert fixed.traits["dynamic"] is False
    # The batch of `scale` bears the same symbol as that of `images`.
    assert [s.shape for s in fixed.inputs] == [(3, 2), (3, 3, 6, 10)]
    assert [s.shape for s in fixed.outputs] == [(3, 2), (3, 4, 6, 10)]
    seen = TorchInspector().inspect(fixed.path, ReadOptions())
    assert [s.name for s in seen.inputs] == ["images", "scale"]
    assert {"stem", "head"} <= {layer.scope for layer in seen.layers}
    arrays, wanted = expected(net, 3, 6, 10)
    got = TorchRunner().open(fixed, 1).run(arrays[::-1])
    for a, b in zip(got, wanted[::-1], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_fix_shapes_says_which_size_is_missing(opened):
    (obstacle,) = FixShapes().check(replace(opened, read=ReadOptions()), {"batch": 1})
    assert "images has no fixed size on axis 2" in obstacle.what
    assert "--shape images=" in obstacle.remedy


def test_fix_shapes_refuses_a_contradiction(opened):
    shapes = {"images": (3, 3, 6, 10), "scale": (2, 2)}
    (obstacle,) = FixShapes().check(replace(opened, read=ReadOptions(shapes=shapes)), {"batch": 1})
    assert "scale cannot be 2x2" in obstacle.what
