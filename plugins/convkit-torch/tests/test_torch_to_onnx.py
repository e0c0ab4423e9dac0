"""Both exporters: parity under ONNX Runtime, opset, names, order, privacy, determinism."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
np = pytest.importorskip("numpy")

from convkit.errors import ConversionError, UsageError  # noqa: E402
from convkit.plugin import ReadOptions  # noqa: E402
from convkit_torch import onnx_file  # noqa: E402
from convkit_torch.export_program import ExportProgram  # noqa: E402
from convkit_torch.inspector import TorchInspector  # noqa: E402
from convkit_torch.live import export_module  # noqa: E402
from convkit_torch.onnx_dynamo import OnnxDynamo  # noqa: E402
from convkit_torch.onnx_legacy import OnnxLegacy  # noqa: E402
from convkit_torch.plugin import convkit_save_live  # noqa: E402
from convkit_torch.runner import TorchRunner  # noqa: E402

TOLERANCE = 1e-4


def ort_run(result, arrays):
    session = ort.InferenceSession(str(result.path), providers=["CPUExecutionProvider"])
    feeds = {spec.name: array for spec, array in zip(result.inputs, arrays, strict=True)}
    return session.run([spec.name for spec in result.outputs], feeds)


def torch_outputs(module, inputs):
    with torch.no_grad():
        leaves = torch.utils._pytree.tree_leaves(module(*inputs))
    return [leaf.numpy() for leaf in leaves if leaf is not None]


def assert_close(got, wanted):
    assert len(got) == len(wanted)
    for a, b in zip(got, wanted, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        assert np.abs(a.astype("float64") - b.astype("float64")).max() < TOLERANCE


def assert_private(path: Path):
    data = path.read_bytes()
    here = Path(__file__).resolve()
    for text in (here.name, str(here.parent), "conftest.py", "site-packages", 'File "', ".py"):
        assert text.encode() not in data, text


CASES = [
    *[(OnnxDynamo(), 20, n) for n in ("mlp", "heads", "encoder", "lstm", "inputs", "folding")],
    *[(OnnxLegacy(), 12, n) for n in ("mlp", "heads", "encoder", "lstm", "inputs", "folding")],
    (OnnxDynamo(), 18, "heads"),
    (OnnxLegacy(), 17, "encoder"),
    (OnnxLegacy(), 20, "heads"),
]


@pytest.mark.parametrize(
    ("converter", "opset", "name"), CASES, ids=lambda v: getattr(v, "name", str(v))
)
def test_parity(converter, opset, name, pt2, artifact, context, model, tmp_path):
    source = artifact(pt2(name))
    before = source.path.read_bytes()
    output = tmp_path / "out.onnx"
    result = converter.convert(source, output, {"opset": opset}, context())
    module, inputs = model(name)
    assert_close(ort_run(result, [x.numpy() for x in inputs]), torch_outputs(module, inputs))
    written = onnx.load(output)
    assert {o.domain: o.version for o in written.opset_import}[""] == opset
    assert result.traits["opset"] == opset
    assert [s.name for s in result.inputs] == [s.name for s in source.inputs]
    assert [s.name for s in result.outputs] == [s.name for s in source.outputs]
    assert [v.name for v in written.graph.input] == [s.name for s in source.inputs]
    assert [v.name for v in written.graph.output] == [s.name for s in source.outputs]
    assert_private(output)
    assert source.path.read_bytes() == before


@pytest.mark.parametrize(("converter", "opset"), [(OnnxDynamo(), 20), (OnnxLegacy(), 12)])
def test_same_bytes_twice(converter, opset, pt2, artifact, context, tmp_path):
    source = artifact(pt2("heads"))
    outputs = [tmp_path / f"{i}.onnx" for i in range(2)]
    for output in outputs:
        converter.convert(source, output, {"opset": opset}, context())
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


@pytest.mark.parametrize(("converter", "opset"), [(OnnxDynamo(), 20), (OnnxLegacy(), 12)])
def test_dynamic_dimensions_stay_dynamic(converter, opset, pt2, artifact, context, model, tmp_path):
    dims = ({0: torch.export.Dim("batch", max=16), 2: torch.export.Dim("height", max=64)},)
    source = artifact(pt2("folding", dynamic=dims))
    result = converter.convert(source, tmp_path / "out.onnx", {"opset": opset}, context())
    assert result.traits["dynamic"] is True
    module, _ = model("folding")
    for shape in ((2, 3, 8, 6), (5, 3, 10, 6), (1, 3, 4, 6)):
        x = torch.randn(shape)
        assert_close(ort_run(result, [x.numpy()]), torch_outputs(module, (x,)))


def test_scopes_survive(pt2, artifact, context, tmp_path):
    result = OnnxLegacy().convert(
        artifact(pt2("heads")), tmp_path / "o.onnx", {"opset": 12}, context()
    )
    names = [node.name for node in onnx.load(result.path).graph.node]
    assert "/boxes/Conv" in names
    dynamo = OnnxDynamo().convert(
        artifact(pt2("heads")), tmp_path / "d.onnx", {"opset": 20}, context()
    )
    props = [p.value for n in onnx.load(dynamo.path).graph.node for p in n.metadata_props]
    assert any("'boxes'" in value for value in props)


def test_silent_opset_is_an_error(pt2, artifact, context, tmp_path):
    """Asked for 17, this exporter writes 18 and says nothing."""
    output = tmp_path / "o.onnx"
    with pytest.raises(ConversionError, match="asked for opset 17 and gave 18"):
        OnnxDynamo().convert(artifact(pt2("heads")), output, {"opset": 17}, context())
    assert not output.exists()


class Gated(torch.nn.Module):
    """Constant and unused arguments, a region without gradients, a branch on values."""

    def __init__(self, branch):
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)
        self.branch = branch

    def forward(self, x, mask=None, factor=3, unused=None):
        with torch.no_grad():
            y = self.linear(x)
        if self.branch:
            y = torch.cond(x.sum() > 0, lambda t: t + 1, lambda t: t - 1, (y,))
        return (y * factor if mask is None else y * mask), None


@pytest.mark.parametrize("branch", [False, True])
def test_constants_unused_inputs_and_control_flow(branch, artifact, context, tmp_path):
    module = Gated(branch).eval()
    inputs = (torch.randn(2, 4), None, 5, torch.randn(3))
    path = tmp_path / "gated.pt2"
    torch.export.save(torch.export.export(module, inputs), path)
    source = artifact(path)
    assert [s.name for s in source.inputs] == ["x", "unused"]
    for sign in (1, -1):
        arrays = [np.full((2, 4), sign, "float32"), np.zeros(3, "float32")]
        x, unused = (torch.from_numpy(a) for a in arrays)
        wanted = torch_outputs(module, (x, None, 5, unused))
        assert_close(TorchRunner().open(source, 1).run(arrays), wanted)
        output = tmp_path / f"dynamo{sign}.onnx"
        result = OnnxDynamo().convert(source, output, {"opset": 20}, context())
        assert_close(ort_run(result, arrays), wanted)
        output = tmp_path / f"legacy{sign}.onnx"
        if branch:
            with pytest.raises(ConversionError, match="control flow"):
                OnnxLegacy().convert(source, output, {"opset": 12}, context())
        else:
            result = OnnxLegacy().convert(source, output, {"opset": 12}, context())
            assert_close(ort_run(result, arrays), wanted)


class Unsupported(torch.nn.Module):
    def forward(self, x):
        return torch.linalg.eigvals(x).real


def test_tool_failure_is_a_conversion_error(artifact, context, tmp_path):
    path = tmp_path / "u.pt2"
    torch.export.save(torch.export.export(Unsupported(), (torch.eye(3),)), path)
    for converter, opset in ((OnnxLegacy(), 12), (OnnxDynamo(), 20)):
        with pytest.raises(ConversionError) as error:
            converter.convert(artifact(path), tmp_path / "o.onnx", {"opset": opset}, context())
        assert error.value.__cause__ is not None
        assert error.value.hint
        assert not (tmp_path / "o.onnx").exists()


def test_large_weights_go_beside_the_model(pt2, artifact, context, model, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "EXTERNAL_DATA_BYTES", 100)
    module, inputs = model("encoder")
    source = artifact(pt2("encoder"))
    for converter, opset in ((OnnxLegacy(), 14), (OnnxDynamo(), 20)):
        output = tmp_path / f"{opset}.onnx"
        result = converter.convert(source, output, {"opset": opset}, context())
        assert (tmp_path / f"{opset}.onnx.data").stat().st_size > 1000
        assert_close(ort_run(result, [x.numpy() for x in inputs]), torch_outputs(module, inputs))


def test_torchscript_to_onnx(model, artifact, context, tmp_path):
    module, inputs = model("inputs")
    path = tmp_path / "m.ts"
    torch.jit.save(torch.jit.trace(module, inputs), path)
    source = artifact(path, ReadOptions(shapes={"a": (2, 4), "b": (2, 4)}))
    assert [s.name for s in source.inputs] == ["b", "a"]
    result = OnnxLegacy().convert(source, tmp_path / "o.onnx", {"opset": 12}, context())
    wanted = torch_outputs(module, inputs)
    assert_close(ort_run(result, [x.numpy() for x in inputs]), wanted)
    assert_close(TorchRunner().open(source, 1).run([x.numpy() for x in inputs]), wanted)


FACTORY = """
import torch
def build():
    torch.manual_seed(1)
    layers = torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Dropout(0.5)
    return torch.nn.Sequential(*layers), (torch.zeros(1, 3, 8, 8),)
"""


def test_state_dict_to_pt2(artifact, context, tmp_path, monkeypatch):
    (tmp_path / "conv_factory.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    import importlib
    import sys

    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("conv_factory").build()[0]
    sys.modules.pop("conv_factory")
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.25)
    torch.save(module.state_dict(), tmp_path / "w.pth")
    source = artifact(tmp_path / "w.pth", ReadOptions(factory="conv_factory:build"))
    result = ExportProgram().convert(source, tmp_path / "out.pt2", {}, context())
    assert_private(result.path)
    assert str(tmp_path).encode() not in result.path.read_bytes()
    seen = TorchInspector().inspect(result.path, ReadOptions())
    assert seen.traits["container"] == "pt2"
    assert [(s.name, s.shape) for s in seen.inputs] == [(s.name, s.shape) for s in source.inputs]
    x = torch.randn(1, 3, 8, 8)
    wanted = torch_outputs(module.eval(), (x,))
    for candidate in (source, result):
        assert_close(TorchRunner().open(candidate, 1).run([x.numpy()]), wanted)


def test_runner_keeps_the_artifacts_order(pt2, artifact, model):
    from dataclasses import replace

    source = artifact(pt2("inputs"))
    module, inputs = model("inputs")
    wanted = torch_outputs(module, inputs)
    turned = replace(source, inputs=source.inputs[::-1], outputs=source.outputs[::-1])
    got = TorchRunner().open(turned, 1).run([x.numpy() for x in inputs[::-1]])
    assert_close(got, wanted[::-1])


def test_live_module_is_saved_and_not_changed(model, tmp_path):
    module, inputs = model("heads")
    module.train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    output = tmp_path / "live.pt2"
    assert convkit_save_live(module, inputs, output, {}) == "torch"
    assert module.training
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
    assert_private(output)
    loaded = torch.export.load(output).module()
    assert_close(torch_outputs(loaded, inputs), torch_outputs(module.eval(), inputs))


def test_live_program_keeps_its_stack_traces(model, tmp_path):
    module, inputs = model("mlp")
    program = torch.export.export(module, inputs)
    export_module(program, (), tmp_path / "p.pt2")
    assert_private(tmp_path / "p.pt2")
    assert any("stack_trace" in node.meta for node in program.graph.nodes)
    with pytest.raises(UsageError):
        export_module(module, (), tmp_path / "q.pt2")
    assert convkit_save_live(object(), (), tmp_path / "r.pt2", {}) is None
