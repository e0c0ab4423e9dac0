"""Files that try to run code, to reach the network, or to write where they should not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from convkit.errors import InputError, UnsafeError
from convkit.plugin import ReadOptions
from convkit_ultralytics import framework, reading, safety
from convkit_ultralytics.detection import looks_like

MARK = "convkit-was-here"
CODE = f"open({MARK!r}, 'w').close()"


class Stranger(torch.nn.Module):
    """A module that is on nobody's list."""


class Reduced:
    """Pickled as the call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def _hostile_description() -> dict[str, Any]:
    return {"nc": 1, "activation": CODE, "backbone": [], "head": []}


def _calls() -> dict[str, Callable[[], Any]]:
    tasks = framework.tasks()
    return {
        "os.system": lambda: Reduced(os.system, f"touch {MARK}"),
        "eval": lambda: Reduced(eval, CODE),
        "subprocess": lambda: Reduced(subprocess.check_output, ["touch", MARK]),
        "stranger": lambda: Stranger(),
        "loader": lambda: Reduced(tasks.torch_safe_load, "other.pt"),
        "model with code": lambda: Reduced(tasks.DetectionModel, _hostile_description()),
        "model from a path": lambda: Reduced(tasks.DetectionModel, "elsewhere.yaml"),
        "layer that downloads": lambda: Reduced(tasks.TorchVision, "resnet18"),
        "attribute": lambda: Reduced(getattr, tasks.DetectionModel, "load"),
        "attribute of an object": lambda: Reduced(getattr, Path("x"), "unlink"),
        "numpy load": lambda: Reduced(__import__("numpy").load, "x.npy", None, True),
    }


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", sorted(_calls()))
@pytest.mark.parametrize("protocol", [2, 4])
def test_code_in_a_checkpoint_does_not_run(
    name: str, protocol: int, tmp_path: Path, trained: dict[str, Any]
) -> None:
    path = tmp_path / "hostile.pt"
    torch.save({**trained, "extra": _calls()[name]()}, path, pickle_protocol=protocol)
    with pytest.raises(UnsafeError, match="hostile.pt|the file"):
        reading.load(path, ReadOptions())
    assert not Path(MARK).exists()


def test_the_refused_name_is_told(tmp_path: Path, trained: dict[str, Any]) -> None:
    path = tmp_path / "hostile.pt"
    torch.save({**trained, "extra": Reduced(eval, CODE)}, path)
    with pytest.raises(UnsafeError, match=r"builtins\.eval") as caught:
        reading.load(path, ReadOptions())
    assert "--trust" in caught.value.hint


def test_trust_runs_it(tmp_path: Path, trained: dict[str, Any]) -> None:
    """So the tests above would notice code that runs."""
    path = tmp_path / "trusted.pt"
    torch.save({**trained, "extra": Reduced(os.system, f"touch {MARK}")}, path)
    reading.load(path, ReadOptions(trust=True))
    assert Path(MARK).exists()


def test_what_is_read_safely_is_what_is_read_with_trust(files: dict[str, Path]) -> None:
    safe, trusted = (
        reading.load(files["checkpoint"], ReadOptions(trust=trust)) for trust in (False, True)
    )
    kinds = [[type(m) for m in o.module.modules()] for o in (safe, trusted)]
    assert kinds[0] == kinds[1], "shells were left in the model"
    images = torch.rand(safe.shape, generator=torch.Generator().manual_seed(0))
    for one, other in zip(
        reading.results(safe.module, images), reading.results(trusted.module, images), strict=True
    ):
        assert torch.equal(one, other)


def test_old_attributes_are_read(tmp_path: Path, trained: dict[str, Any]) -> None:
    """Checkpoints of 2023 hold `Detect.forward`; fused ones hold bound methods."""
    model = trained["ema"].float().eval()
    import copy

    fused = copy.deepcopy(model).fuse(verbose=False)
    fused.model[-1].detect = framework.tasks().Detect.forward
    path = tmp_path / "fused.pt"
    torch.save({"model": fused}, path)
    read = ReadOptions(shapes={"images": (1, 3, 64, 64)})
    (found,) = reading.results(reading.load(path, read).module, torch.zeros(1, 3, 64, 64))
    (wanted,) = reading.results(model, torch.zeros(1, 3, 64, 64))
    assert torch.allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_a_file_without_a_model_is_refused(tmp_path: Path, trained: dict[str, Any]) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"model": trained["ema"].state_dict()}, path)
    with pytest.raises(InputError, match="no model of ultralytics"):
        reading.load(path, ReadOptions())


def test_a_script_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "script.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    with pytest.raises(InputError, match="no checkpoint"):
        safety.load(path, trust=True)
    assert looks_like(path, path.read_bytes()[:4096]) is None


@pytest.mark.parametrize(
    ("old", "new", "error", "told"),
    [
        ("nc: 4", f'nc: 4\nactivation: "{CODE}"', UnsafeError, "activation"),
        ("nc: 4", "nc: 4\nactivation: nn.SiLU(print(1))", UnsafeError, "activation"),
        ("nc: 4", "nc: 4\nactivation: torch.nn.init.os.getcwd()", UnsafeError, "activation"),
        ("C2f, [256]", "load_checkpoint, [x.pt]", UnsafeError, "load_checkpoint"),
        ("C2f, [256]", "DetectionModel, [x.yaml]", UnsafeError, "DetectionModel"),
        ("C2f, [256]", "nn.init.os, [x]", UnsafeError, r"nn\.init\.os"),
        ("C2f, [256]", "TorchVision, [256, resnet18, DEFAULT, True, 2]", InputError, "download"),
        ("C2f, [256]", "TorchVision, [256, resnet18]", InputError, "download"),
        ("nc: 4", "nc: !!python/object/apply:os.system [touch x]", InputError, "YAML"),
        ("C2f, [256]", "C2f, [256, wrong, 1, 2, 3, 4, 5]", InputError, "cannot be built"),
        ("Detect, [nc]", "Concat, [1]", InputError, "no head"),
        ("[[8, 5], 1, Detect, [nc]]", "[8, 5]", InputError, "damaged"),
        ("backbone:", "spine:", InputError, "no model description"),
    ],
)
def test_hostile_descriptions(
    old: str, new: str, error: type[Exception], told: str, tiny: str, tmp_path: Path
) -> None:
    path = tmp_path / "hostile.yaml"
    path.write_text(tiny.replace(old, new))
    with pytest.raises(error, match=told):
        reading.load(path, ReadOptions())
    assert [p.name for p in tmp_path.iterdir()] == ["hostile.yaml"]


def test_an_honest_activation_is_built(tiny: str, tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(f"activation: torch.nn.LeakyReLU(0.1, inplace=True)\n{tiny}")
    kinds = {type(m).__name__ for m in reading.load(path, ReadOptions()).module.modules()}
    assert "LeakyReLU" in kinds


def test_detection_reads_no_names_from_hostile_files(tmp_path: Path) -> None:
    for name, content in {
        "text.yaml": b"backbone:\nnc:\n" + b"\xff" * 100,
        "zip.pt": b"PK\x03\x04",
    }.items():
        path = tmp_path / name
        path.write_bytes(content)
        assert looks_like(path, content[:4096]) is None
    torch.save({"text": "ultralytics.nn.tasks"}, tmp_path / "plain.pt")
    assert looks_like(tmp_path / "plain.pt", (tmp_path / "plain.pt").read_bytes()[:4096]) is None


OFFLINE = """
import os, socket, sys, torch
from pathlib import Path

def refuse(*arguments, **keywords):
    raise SystemExit(f"network: {arguments}")

for name in ("connect", "connect_ex", "sendto"):
    setattr(socket.socket, name, refuse)
socket.getaddrinfo = socket.create_connection = refuse

from convkit.plugin import Artifact, HopContext, ReadOptions
from convkit_ultralytics import plugin
(inspector,) = plugin.convkit_inspectors()
to_onnx = {c.name: c for c in plugin.convkit_converters()}["ultralytics.onnx"]
before, save = dict(os.environ), torch.save
for path in sys.argv[1:]:
    seen = inspector.inspect(Path(path), ReadOptions())
    artifact = Artifact(Path(path), seen.state, seen.inputs, seen.outputs, traits=seen.traits)
    work = Path("work")
    work.mkdir(exist_ok=True)
    output = Path(Path(path).name).with_suffix(".onnx")
    to_onnx.convert(
        artifact, output, {o.name: o.default for o in to_onnx.options},
        HopContext(work, lambda phase, fraction: None),
    )
assert dict(os.environ) == before, set(os.environ.items()) ^ set(before.items())
assert torch.save is save
"""


def test_offline_and_without_traces(files: dict[str, Path], tmp_path: Path) -> None:
    """No connection is tried, nothing is written at home, the process is left as it was."""
    home = tmp_path / "home"
    home.mkdir()
    hidden = ("YOLO_", "XDG_", "ULTRALYTICS_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(hidden)}
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, str(files["checkpoint"]), str(files["description"])],
        cwd=tmp_path,
        env={**environment, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert not list(home.rglob("*"))
    assert {p.name for p in tmp_path.iterdir()} == {"home", "work", "best.onnx", "tiny.onnx"}
