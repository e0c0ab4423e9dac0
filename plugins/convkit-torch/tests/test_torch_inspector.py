"""torch.inspect and detection on well-formed files."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from convkit.errors import InputError, UsageError  # noqa: E402
from convkit.plugin import ReadOptions  # noqa: E402
from convkit_torch.inspector import TorchInspector  # noqa: E402
from convkit_torch.plugin import convkit_detect_format  # noqa: E402

INSPECTOR = TorchInspector()


def detect(path: Path):
    return convkit_detect_format(path, path.read_bytes()[:4096])


def test_program_is_described(pt2):
    seen = INSPECTOR.inspect(pt2("heads"), ReadOptions())
    assert str(seen.state) == "torch"
    assert [(s.name, s.shape, s.dtype, s.layout) for s in seen.inputs] == [
        ("images", (1, 3, 16, 16), "float32", "NCHW")
    ]
    assert [s.shape for s in seen.outputs] == [(1, 4, 8, 8), (1, 5)]
    assert seen.traits == {"container": "pt2", "dynamic": False}
    assert seen.operators["aten.conv2d"] == 2
    assert seen.parameter_bytes["float32"] == 4 * (8 * 27 + 8 + 4 * 8 + 8 * 4 + 4 + 40 + 5)
    assert seen.macs == 16 * 16 * 8 * 27 + 8 * 8 * 4 * 8 + 40
    scopes = {layer.scope for layer in seen.layers if layer.op_type == "aten.conv2d"}
    assert scopes == {"stem.0", "boxes"}


def test_names_are_the_programs(pt2):
    encoder = INSPECTOR.inspect(pt2("encoder"), ReadOptions())
    assert [s.name for s in encoder.outputs] == ["hidden", "pooled"]
    assert encoder.inputs[0].dtype == "int64"
    two = INSPECTOR.inspect(pt2("inputs"), ReadOptions())
    assert [s.name for s in two.inputs] == ["b", "a"]
    assert two.outputs[2].name == "output_2", "an input handed through needs a name of its own"


def test_dynamic_dimensions_are_named(pt2):
    dims = ({0: torch.export.Dim("batch", max=16)},)
    seen = INSPECTOR.inspect(pt2("mlp", dynamic=dims), ReadOptions())
    assert isinstance(seen.inputs[0].shape[0], str)
    assert seen.outputs[0].shape == (seen.inputs[0].shape[0], 3)
    assert seen.traits["dynamic"] is True


def test_half_weights_are_fp16(model, tmp_path):
    module, (x,) = model("mlp")
    path = tmp_path / "half.pt2"
    torch.export.save(torch.export.export(module.half(), (x.half(),)), path)
    assert INSPECTOR.inspect(path, ReadOptions()).state.precision == "fp16"


def test_digest_is_of_the_program_and_not_of_the_file(pt2, model, tmp_path):
    first = pt2("heads", "one.pt2")
    digest = INSPECTOR.inspect(first, ReadOptions()).digest
    script = (
        "import sys; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path; from convkit.plugin import ReadOptions\n"
        "from convkit_torch.inspector import TorchInspector\n"
        "print(TorchInspector().inspect(Path(sys.argv[1]), ReadOptions()).digest)"
    )
    second = pt2("heads", "two.pt2")
    assert first.read_bytes() != second.read_bytes()
    run = subprocess.run(
        [sys.executable, "-c", script, str(second), *sys.path],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split()[-1] == digest
    module, inputs = model("heads")
    with torch.no_grad():
        module.boxes.bias[0] += 1e-3
    other = tmp_path / "other.pt2"
    torch.export.save(torch.export.export(module, inputs), other)
    assert INSPECTOR.inspect(other, ReadOptions()).digest != digest


def test_torchscript_needs_shapes_and_then_is_described(model, tmp_path):
    module, inputs = model("heads")
    path = tmp_path / "heads.ts"
    torch.jit.save(torch.jit.trace(module, inputs), path)
    with pytest.raises(UsageError) as error:
        INSPECTOR.inspect(path, ReadOptions())
    assert "--shape images=" in error.value.hint
    read = ReadOptions(shapes={"images": (1, 3, 16, 16)})
    seen = INSPECTOR.inspect(path, read)
    assert seen.traits["container"] == "torchscript"
    assert [(s.name, s.shape) for s in seen.outputs] == [
        ("output_0", (1, 4, 8, 8)),
        ("output_1", (1, 5)),
    ]
    assert seen.digest == INSPECTOR.inspect(path, read).digest
    assert detect(path).confidence == 1.0
    with pytest.raises(UsageError):
        INSPECTOR.inspect(path, ReadOptions(shapes={"images": (1, 4, 16, 16)}))


@pytest.fixture
def weights(model, tmp_path, monkeypatch):
    module, _ = model("mlp")
    (tmp_path / "my_factory.py").write_text(
        "import torch\n"
        "class Mlp(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.body = torch.nn.Sequential(\n"
        "            torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))\n"
        "    def forward(self, x):\n"
        "        return self.body(x)\n"
        "def build():\n"
        "    return Mlp()\n"
        "def build_with_examples():\n"
        "    return Mlp(), (torch.zeros(2, 8),)\n"
        "def wrong():\n"
        "    return torch.nn.Linear(2, 2), (torch.zeros(2, 2),)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_factory", raising=False)
    path = tmp_path / "mlp.pt"
    torch.save(module.state_dict(), path)
    return path


def test_state_dict_needs_a_factory(weights):
    with pytest.raises(UsageError) as error:
        INSPECTOR.inspect(weights, ReadOptions())
    assert "--factory" in error.value.hint
    with pytest.raises(UsageError) as error:
        INSPECTOR.inspect(weights, ReadOptions(factory="my_factory:build"))
    assert "--shape x=" in error.value.hint
    with pytest.raises(InputError):
        INSPECTOR.inspect(weights, ReadOptions(factory="my_factory:wrong"))
    with pytest.raises(UsageError):
        INSPECTOR.inspect(weights, ReadOptions(factory="my_factory:absent"))
    for read in (
        ReadOptions(factory="my_factory:build_with_examples"),
        ReadOptions(factory="my_factory:build", shapes={"x": (2, 8)}),
    ):
        seen = INSPECTOR.inspect(weights, read)
        assert seen.traits["container"] == "state-dict"
        assert seen.inputs[0].shape == (2, 8)
    # Other frameworks' checkpoints are pickles too: a plugin that knows one may claim it.
    assert 0.5 < detect(weights).confidence < 1.0


@pytest.mark.parametrize("wrap", [lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"model": s}])
def test_checkpoints_are_unwrapped(weights, wrap):
    state = torch.load(weights, weights_only=True)
    torch.save(wrap({f"module.{k}": v for k, v in state.items()}), weights)
    read = ReadOptions(factory="my_factory:build_with_examples")
    assert INSPECTOR.inspect(weights, read).parameter_bytes == {"float32": 4 * (128 + 16 + 48 + 3)}


def test_legacy_pickle_of_weights(weights):
    state = torch.load(weights, weights_only=True)
    torch.save(state, weights, _use_new_zipfile_serialization=False)
    assert detect(weights).confidence == 1.0
    read = ReadOptions(factory="my_factory:build_with_examples")
    assert INSPECTOR.inspect(weights, read).traits["container"] == "state-dict"


def test_detection_is_by_content(pt2, tmp_path):
    path = pt2("mlp")
    renamed = path.rename(tmp_path / "model.bin")
    assert detect(renamed).confidence == 1.0
    fake = tmp_path / "fake.pt2"
    fake.write_bytes(b"not a model at all")
    assert detect(fake).confidence == 0.5
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("readme.txt", "x")
    assert detect(other) is None
    assert convkit_detect_format(tmp_path, b"") is None


def test_importing_the_plugin_loads_no_framework():
    script = (
        "import sys; sys.path[:0] = sys.argv[1:]; import convkit_torch.plugin as p\n"
        "p.convkit_formats(), p.convkit_converters(), p.convkit_runners(), p.convkit_inspectors()\n"
        "print([m for m in ('torch', 'numpy', 'onnx', 'zipfile') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, *sys.path], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"
