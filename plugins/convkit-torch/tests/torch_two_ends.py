"""A model with two inputs and two outputs, in every container; workers import it as a factory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from convkit.plugin import ReadOptions

READ = {
    "pt2": ReadOptions(),
    "pt2-dynamic": ReadOptions(),
    "pt2-fp16": ReadOptions(),
    "torchscript": ReadOptions(
        shapes={"image": (1, 3, 8, 8), "ids": (1, 6)}, dtypes={"ids": "int64"}
    ),
    "text": ReadOptions(),
    "text-dynamic": ReadOptions(),
    "int8-dynamic": ReadOptions(),
    "state-dict": ReadOptions(factory=f"{__name__}:build"),
}
"""What has to be said about a file in each container."""


class TwoEnds(torch.nn.Module):
    """A picture and ids in; a map and a vector out, of different ranks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.SiLU())
        self.embed = torch.nn.Embedding(12, 8)
        self.head = torch.nn.Linear(8, 5)

    def forward(self, image: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.stem(image)
        return features, self.head(features.mean((2, 3)) + self.embed(ids).mean(1))


class Text(torch.nn.Module):
    """Tokens to classes: attention, an LSTM, a GRU, and Linear layers of different weight."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(20, 32)
        self.attend = torch.nn.MultiheadAttention(32, 4, batch_first=True)
        self.lstm = torch.nn.LSTM(32, 24, num_layers=2, bidirectional=True, batch_first=True)
        self.gru = torch.nn.GRU(48, 24, batch_first=True)
        self.head = torch.nn.Linear(24, 5)

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.embed(ids)
        x = x + self.attend(x, x, x, need_weights=False)[0]
        states, last = self.gru(self.lstm(x)[0])
        return states, self.head(last[0])


def text(folder: Path, batch: bool) -> Path:
    """The seeded text model as a program, with an open batch axis if wanted."""
    torch.manual_seed(0)
    ids = torch.randint(0, 20, (2 if batch else 1, 7))
    shapes = ({0: torch.export.Dim("batch", min=1, max=64)},) if batch else None
    program = torch.export.export(Text().eval(), (ids,), dynamic_shapes=shapes)
    path = folder / "text.pt2"
    torch.export.save(program, path)
    return path


def int8_dynamic(folder: Path) -> Path:
    """The text model as the edge would write it."""
    from convkit_torch import recording, script_file
    from convkit_torch.flat import flatten
    from convkit_torch.packing import Packing, quantize

    program = torch.export.load(str(text(folder, batch=True)))
    module = flatten(program)
    quantize(module, Packing(per_channel=True, reduce_range=False), frozenset())
    work, path = folder / "work", folder / "text-int8-dynamic.pt"
    work.mkdir()
    about = recording.description(program)
    recorded = recording.record(module, program)
    script_file.save(recorded, path, about, work, mobile=False)
    return path


def build() -> tuple[torch.nn.Module, tuple[Any, ...]]:
    """The seeded module with example inputs, as `--factory` takes them."""
    torch.manual_seed(0)
    examples = (torch.rand(1, 3, 8, 8), torch.randint(0, 8, (1, 6)))
    return TwoEnds().eval(), examples


def write(folder: Path, container: str) -> Path:
    """Save the model as a user would."""
    module, examples = build()
    if container == "pt2":
        path = folder / "model.pt2"
        torch.export.save(torch.export.export(module, examples), path)
    elif container == "pt2-dynamic":
        path = folder / "dynamic.pt2"
        batch = torch.export.Dim("batch", min=1, max=64)
        wide = tuple(example.repeat_interleave(2, 0) for example in examples)
        program = torch.export.export(module, wide, dynamic_shapes=({0: batch}, {0: batch}))
        torch.export.save(program, path)
    elif container == "pt2-fp16":
        path = folder / "half.pt2"
        half = (examples[0].half(), examples[1])
        torch.export.save(torch.export.export(module.half(), half), path)
    elif container in ("text", "text-dynamic"):
        path = text(folder, batch=container == "text-dynamic")
    elif container == "int8-dynamic":
        path = int8_dynamic(folder)
    elif container == "torchscript":
        path = folder / "model.torchscript"
        torch.jit.save(torch.jit.trace(module, examples), path)
    else:
        path = folder / "model.pth"
        torch.save(module.state_dict(), path)
    return path
