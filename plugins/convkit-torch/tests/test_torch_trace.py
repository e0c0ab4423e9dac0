"""`torch.run` shows what every layer computes."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
np = pytest.importorskip("numpy")

from convkit.errors import ConversionError  # noqa: E402
from convkit.plugin import ReadOptions, Tracer  # noqa: E402
from convkit_torch.inspector import TorchInspector  # noqa: E402
from convkit_torch.runner import TorchRunner  # noqa: E402

RUNNER = TorchRunner()


def test_it_is_a_tracer():
    assert isinstance(RUNNER, Tracer)


@pytest.mark.parametrize("name", ["mlp", "heads", "encoder", "lstm", "inputs", "folding"])
def test_every_floating_layer_is_shown_in_order(name, pt2, artifact, model):
    _, inputs = model(name)
    source = artifact(pt2(name))
    seen = TorchInspector().inspect(source.path, ReadOptions())
    arrays = [x.numpy() for x in inputs]
    traced = list(RUNNER.trace(source, arrays, 1))
    known = {layer.name: layer for layer in seen.layers}
    order = [layer.name for layer in seen.layers]
    places = [order.index(tensor.layer) for tensor in traced]
    assert places == sorted(places)
    assert len(set(places)) == len(places)
    for tensor in traced:
        layer = known[tensor.layer]
        assert (tensor.op_type, tensor.scope) == (layer.op_type, layer.scope)
        assert tensor.value.dtype == np.float32
    # A layer of several results has no dtype of its own; those that pick them have.
    floating = {n for n in order if known[n].compute.startswith("float")}
    several = {i for layer in seen.layers if layer.op_type == "getitem" for i in layer.inputs}
    assert {t.layer for t in traced} == floating - several
    outputs = RUNNER.open(source, 1).run(arrays)
    for output in outputs:
        if output.dtype == np.float32 and not any(output is a for a in arrays):
            same = [t for t in traced if t.value.shape == output.shape]
            assert any(np.allclose(t.value, output, atol=1e-6) for t in same) or name == "inputs"


def test_scopes_are_module_paths(pt2, artifact, model):
    _, (images,) = model("heads")
    traced = list(RUNNER.trace(artifact(pt2("heads")), [images.numpy()], 1))
    assert {"stem.0", "boxes", "scores"} <= {t.scope for t in traced}
    convolution = next(t for t in traced if t.scope == "stem.0")
    module, _ = model("heads")
    with torch.no_grad():
        np.testing.assert_allclose(convolution.value, module.stem[0](images).numpy(), atol=1e-6)


def test_inputs_come_in_the_artifacts_order(pt2, artifact, model):
    _, inputs = model("inputs")
    source = artifact(pt2("inputs"))
    arrays = [x.numpy() for x in inputs]
    plain = [t.value for t in RUNNER.trace(source, arrays, 1)]
    turned = replace(source, inputs=source.inputs[::-1])
    for a, b in zip(plain, (t.value for t in RUNNER.trace(turned, arrays[::-1], 1)), strict=True):
        np.testing.assert_array_equal(a, b)


class Rewriting(torch.nn.Module):
    """A buffer that changes, and a value that is overwritten after it was computed."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(3))

    def forward(self, x):
        y = x * 2
        self.seen.add_(1)
        z = y + self.seen
        y.zero_()
        return z


def test_a_trace_shows_the_value_of_its_moment_and_leaves_no_trace(artifact, tmp_path):
    path = tmp_path / "r.pt2"
    torch.export.save(torch.export.export(Rewriting(), (torch.ones(3),)), path)
    source = artifact(path)
    for _ in range(2):
        traced = {t.layer: t.value for t in RUNNER.trace(source, [np.ones(3, "float32")], 1)}
        assert traced["mul"].tolist() == [2, 2, 2]
        assert traced["add"].tolist() == [3, 3, 3]


def test_torchscript_is_refused(model, artifact, tmp_path):
    module, inputs = model("mlp")
    torch.jit.save(torch.jit.trace(module, inputs), tmp_path / "m.ts")
    source = artifact(tmp_path / "m.ts", ReadOptions(shapes={"x": (2, 8)}))
    with pytest.raises(ConversionError, match="does not show its layers"):
        next(iter(RUNNER.trace(source, [inputs[0].numpy()], 1)))


def test_a_state_dict_is_traced_as_its_program(artifact, model, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "traced_factory.py").write_text(
        "import torch\ndef build():\n"
        "    net = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU())\n"
        "    return net, (torch.ones(2, 8),)"
    )
    torch.save(
        torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU()).state_dict(),
        tmp_path / "w.pth",
    )
    source = artifact(tmp_path / "w.pth", ReadOptions(factory="traced_factory:build"))
    traced = list(RUNNER.trace(source, [np.ones((2, 8), "float32")], 1))
    assert [t.scope for t in traced] == ["0", "1"]
