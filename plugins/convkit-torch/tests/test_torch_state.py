"""Programs that remember, half precision, and control flow on values."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
ort = pytest.importorskip("onnxruntime")
np = pytest.importorskip("numpy")

from convkit.errors import ConversionError  # noqa: E402
from convkit.plugin import ReadOptions  # noqa: E402
from convkit_torch import reading  # noqa: E402
from convkit_torch.inspector import TorchInspector  # noqa: E402
from convkit_torch.onnx_dynamo import OnnxDynamo  # noqa: E402
from convkit_torch.onnx_half import OnnxDynamoHalf  # noqa: E402
from convkit_torch.onnx_legacy import OnnxLegacy  # noqa: E402
from convkit_torch.runner import TorchRunner  # noqa: E402
from convkit_torch.widen import Widen  # noqa: E402


class Counter(torch.nn.Module):
    """Adds up what it has seen, through a view of its buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("total", torch.zeros(2, 4))

    def forward(self, x):
        self.total[0].add_(x)
        return self.total.sum(0) * 1


class InPlace(torch.nn.Module):
    """Writes into intermediate values only."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)

    def forward(self, x):
        y = self.linear(x)
        y.relu_()
        y[:, 0] = 1.0
        return y


class Overwriting(torch.nn.Module):
    def forward(self, x):
        return x.mul_(2) + 1


def saved(module, inputs, tmp_path):
    path = tmp_path / "m.pt2"
    torch.export.save(torch.export.export(module.eval(), inputs), path)
    return path


@pytest.mark.parametrize(
    ("module", "shape", "name"), [(Counter(), (4,), "total"), (Overwriting(), (2, 4), "x")]
)
def test_state_is_seen_and_refused(module, shape, name, artifact, context, tmp_path):
    path = saved(module, (torch.ones(shape),), tmp_path)
    source = artifact(path)
    assert source.traits["stateful"] is True
    for converter in (OnnxDynamo(), OnnxLegacy()):
        needed = {r.trait: r.one_of for r in converter.requires}
        assert needed["stateful"] == (False,), "the planner must know before it starts"
        output = tmp_path / "o.onnx"
        with pytest.raises(ConversionError, match=f"changes {name} when it runs"):
            converter.convert(source, output, {"opset": 18}, context())
        assert not output.exists()


def test_writing_into_intermediate_values_is_no_state(artifact, context, tmp_path):
    module, x = InPlace(), torch.randn(2, 4)
    source = artifact(saved(module, (x,), tmp_path))
    assert "stateful" not in source.traits
    with torch.no_grad():
        wanted = module(x).numpy()
    for converter in (OnnxDynamo(), OnnxLegacy()):
        output = tmp_path / f"{converter.name}.onnx"
        converter.convert(source, output, {"opset": 18}, context())
        session = ort.InferenceSession(str(output), providers=["CPUExecutionProvider"])
        np.testing.assert_allclose(session.run(None, {"x": x.numpy()})[0], wanted, atol=1e-6)


class Branching(torch.nn.Module):
    def forward(self, x):
        return x + 1 if x.sum() > 0 else x - 1


def test_a_branch_in_python_is_refused_by_name():
    with pytest.raises(ConversionError, match="cannot capture Branching") as error:
        reading.export(Branching(), (torch.ones(3),))
    assert "control flow" in error.value.hint


def test_half_precision_has_a_road(artifact, context, tmp_path):
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.GELU(), torch.nn.Linear(16, 3))
    x = torch.randn(2, 8)
    with torch.no_grad():
        wanted = module(x).numpy()
    source = artifact(saved(module.half(), (x.half(),), tmp_path))
    assert str(source.state) == "torch-fp16"
    assert OnnxDynamoHalf().check(source, {}) == ()
    result = OnnxDynamoHalf().convert(source, tmp_path / "o.onnx", {"opset": 20}, context())
    assert str(result.state) == "onnx-fp16"
    assert result.inputs[0].dtype == "float16"
    session = ort.InferenceSession(str(result.path), providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {result.inputs[0].name: x.half().numpy()})
    np.testing.assert_allclose(got.astype("float32"), wanted, atol=5e-3)


def test_bfloat16_is_refused_with_a_remedy(artifact, tmp_path):
    module = torch.nn.Linear(4, 2).bfloat16()
    path = saved(module, (torch.randn(1, 4).bfloat16(),), tmp_path)
    assert str(TorchInspector().inspect(path, ReadOptions()).state) == "torch-fp16"
    (obstacle,) = OnnxDynamoHalf().check(artifact(path), {})
    assert "bfloat16" in obstacle.what
    assert ".float()" in obstacle.remedy


class Typed(torch.nn.Module):
    """Says types in every way that a graph can hold."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(8, 16)
        self.register_buffer("scale", torch.rand(16))
        self.register_buffer("steps", torch.arange(16))

    def forward(self, x, mask):
        y = torch.relu(self.linear(x)) * self.scale.to(x.dtype) + self.steps
        y = y.masked_fill(mask, -1000.0)
        y = torch.softmax(y, -1, dtype=torch.float32).to(x.dtype)
        y = y + torch.full((1,), 0.5, dtype=x.dtype) + torch.tensor([1.0, 2.0] * 8, dtype=x.dtype)
        return {"a": torch.cond(y.sum() > 0, lambda v: v * 2, lambda v: v.clone(), (y,)), "b": -y}


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_widened_as_if_cast_before_the_export(half, artifact, context, tmp_path):
    torch.manual_seed(0)
    module = Typed().to(half).eval()
    x, mask = torch.rand(3, 8).to(half), torch.rand(3, 16) > 0.7
    rows = torch.export.Dim("rows", min=2, max=64)
    program = torch.export.export(module, (x, mask), dynamic_shapes=({0: rows}, {0: rows}))
    torch.export.save(program, tmp_path / "half.pt2")
    source = artifact(tmp_path / "half.pt2")
    assert str(source.state) == "torch-fp16"
    result = Widen().convert(source, tmp_path / "wide.pt2", {}, context())
    found = TorchInspector().inspect(result.path, ReadOptions())
    assert found.state == result.state and str(found.state) == "torch"
    assert set(found.parameter_bytes) == {"float32", "int64"}
    assert [(s.name, s.shape, s.dtype) for s in found.inputs] == [
        (s.name, s.shape, s.dtype) for s in result.inputs
    ]
    assert [s.dtype for s in result.inputs] == ["float32", "bool"]
    assert not isinstance(result.inputs[0].shape[0], int), "the axis stays open"
    with torch.no_grad():
        wanted = module.float()(x.float(), mask)
    arrays = [x.float().numpy(), mask.numpy()]
    for got, value in zip(TorchRunner().open(result, 1).run(arrays), wanted.values(), strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, value.numpy(), rtol=1e-6)


def test_bfloat16_runs_as_an_original(artifact, tmp_path):
    import ml_dtypes

    module, x = torch.nn.Linear(4, 2).bfloat16(), torch.randn(1, 4).bfloat16()
    source = artifact(saved(module, (x,), tmp_path))
    (got,) = TorchRunner().open(source, 1).run([x.float().numpy().astype(ml_dtypes.bfloat16)])
    with torch.no_grad():
        np.testing.assert_array_equal(got, module(x).float().numpy())
