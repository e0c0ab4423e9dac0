"""Small models of Ultralytics: descriptions, and checkpoints as its training leaves them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("yaml")
if find_spec("ultralytics") is None:
    pytest.skip("ultralytics is not installed", allow_module_level=True)

from convkit.plugin import Artifact, HopContext, ReadOptions  # noqa: E402
from convkit_ultralytics import description, framework  # noqa: E402
from convkit_ultralytics.inspector import UltralyticsInspector  # noqa: E402

TINY = """\
# a detector with two scales of its own, small enough for a test
nc: 4
imgsz: 64
scales:
  n: [0.33, 0.125, 128]
  s: [0.33, 0.25, 128]
backbone:
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 1, Conv, [128, 3, 2]]
  - [-1, 1, C2f, [128, True]]
  - [-1, 1, Conv, [256, 3, 2]]
  - [-1, 1, SPPF, [256, 5]]
head:
  - [-1, 1, Conv, [256, 3, 2]]
  - [-1, 1, nn.Upsample, [None, 2, nearest]]
  - [[-1, 4], 1, Concat, [1]]
  - [-1, 1, C2f, [256]]
  - [[8, 5], 1, Detect, [nc]]
"""


def checkpoint_of(model: Any) -> dict[str, Any]:
    """What training saves beside and inside a model: half precision, the loss, paths, numbers."""
    import numpy as np
    from ultralytics.cfg import get_cfg

    model = copy.deepcopy(model).train().requires_grad_(True)
    model.args = get_cfg(overrides={"imgsz": 64})
    model.criterion = model.init_criterion()
    model.names = {i: f"class {i}" for i in range(4)}
    return {
        "epoch": -1,
        "best_fitness": np.float64(0.25),
        "model": None,
        "ema": model.half(),
        "updates": 7,
        "optimizer": None,
        "train_args": {"imgsz": 64, "task": "detect", "save_dir": Path("runs") / "train"},
        "train_metrics": {"fitness": np.float32(0.25)},
        "date": "2026-01-01T00:00:00",
        "version": framework.version(),
    }


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny() -> str:
    """The text of a small description."""
    return TINY


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The content of a detector's checkpoint."""
    path = tmp_path_factory.mktemp("trained") / "tinyn.yaml"
    path.write_text(TINY)
    return checkpoint_of(description.build(description.read(path), trust=False))


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory, trained: dict[str, Any]) -> dict[str, Path]:
    """A model in every kind of file, each in a folder of its own; two of them have two outputs."""
    folder = {
        kind: tmp_path_factory.mktemp(kind)
        for kind in ("checkpoint", "description", "segment", "segment-description")
    }
    paths = {
        "checkpoint": folder["checkpoint"] / "best.pt",
        "description": folder["description"] / "tiny.yaml",
        "segment": folder["segment"] / "best-seg.pt",
        "segment-description": folder["segment-description"] / "tiny-seg.yaml",
    }
    torch.save(trained, paths["checkpoint"])
    paths["description"].write_text(TINY)
    segmenting = TINY.replace("Detect, [nc]", "Segment, [nc, 8, 64]")
    paths["segment-description"].write_text(segmenting)
    found = description.read(paths["segment-description"])
    torch.save(checkpoint_of(description.build(found, trust=False)), paths["segment"])
    return paths


@pytest.fixture
def artifact() -> Callable[..., Artifact]:
    """Inspects a file, as the engine does before the first hop."""

    def make(path: Path, read: ReadOptions | None = None) -> Artifact:
        read = read or ReadOptions()
        seen = UltralyticsInspector().inspect(path, read)
        return Artifact(
            path, seen.state, seen.inputs, seen.outputs, seen.digest, traits=seen.traits, read=read
        )

    return make


@pytest.fixture
def context(tmp_path: Path) -> Callable[[], HopContext]:
    """A fresh private folder for each hop."""
    base = HopContext(tmp_path, lambda phase, fraction: None)
    count = iter(range(1000))

    def make() -> HopContext:
        folder = tmp_path / f"work-{next(count)}"
        folder.mkdir()
        return replace(base, workdir=folder)

    return make
