"""Small models of the kinds that users bring, and the context that the engine would give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from convkit.plugin import Artifact, HopContext, ReadOptions  # noqa: E402
from convkit_torch.inspector import TorchInspector  # noqa: E402


class Mlp(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Sequential(
            torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3)
        )

    def forward(self, x: Any) -> Any:
        return self.body(x)


class TwoHeads(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, padding=1),
            torch.nn.BatchNorm2d(8),
            torch.nn.SiLU(),
            torch.nn.MaxPool2d(2),
        )
        self.boxes = torch.nn.Conv2d(8, 4, 1)
        self.scores = torch.nn.Linear(8, 5)

    def forward(self, images: Any) -> Any:
        features = self.stem(images)
        return self.boxes(features), self.scores(features.mean((2, 3))).softmax(-1)


class Encoder(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(50, 16)
        self.norm = torch.nn.LayerNorm(16)
        self.attend = torch.nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, ids: Any) -> Any:
        x = self.norm(self.embed(ids))
        y, _ = self.attend(x, x, x, need_weights=False)
        return {"hidden": x + y, "pooled": (x + y).mean(1)}


class Recurrent(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = torch.nn.LSTM(6, 10, batch_first=True)
        self.head = torch.nn.Linear(10, 2)

    def forward(self, x: Any) -> Any:
        return self.head(self.lstm(x)[0][:, -1])


class TwoInputs(torch.nn.Module):
    """Inputs out of alphabetical order, and one of them handed through."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)

    def forward(self, b: Any, a: Any) -> Any:
        return self.linear(b) - a, a * 2, b


class Folding(torch.nn.Module):
    """Shape arithmetic, which a tracer freezes where sizes are not traced."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: Any) -> Any:
        batch, _, height, width = x.shape
        flat = self.conv(x).reshape(batch, 4, height * width).permute(0, 2, 1)
        return flat, torch.arange(height * width)[None].expand(batch, -1) * 2


MODELS: dict[str, tuple[type, Callable[[], tuple[Any, ...]]]] = {
    "mlp": (Mlp, lambda: (torch.randn(2, 8),)),
    "heads": (TwoHeads, lambda: (torch.randn(1, 3, 16, 16),)),
    "encoder": (Encoder, lambda: (torch.randint(0, 50, (1, 7)),)),
    "lstm": (Recurrent, lambda: (torch.randn(1, 5, 6),)),
    "inputs": (TwoInputs, lambda: (torch.randn(2, 4), torch.randn(2, 4))),
    "folding": (Folding, lambda: (torch.randn(2, 3, 8, 6),)),
}


def build(name: str) -> tuple[Any, tuple[Any, ...]]:
    """A seeded model in eval mode with inputs."""
    torch.manual_seed(0)
    kind, examples = MODELS[name]
    return kind().eval(), examples()


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def model() -> Callable[[str], tuple[Any, tuple[Any, ...]]]:
    return build


@pytest.fixture
def pt2(tmp_path: Path) -> Callable[[str], Path]:
    """Saves a model as torch.export itself does, stack traces included."""

    def save(name: str, file: str = "", dynamic: Any = None) -> Path:
        module, inputs = build(name)
        path = tmp_path / (file or f"{name}.pt2")
        torch.export.save(torch.export.export(module, inputs, dynamic_shapes=dynamic), path)
        return path

    return save


@pytest.fixture
def artifact() -> Callable[..., Artifact]:
    """Inspects a file, as the engine does before the first hop."""

    def make(path: Path, read: ReadOptions | None = None) -> Artifact:
        read = read or ReadOptions()
        seen = TorchInspector().inspect(path, read)
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
