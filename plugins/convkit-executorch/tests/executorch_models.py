"""Small programs, and files that were made of them.

Lowering takes tens of seconds, so that the files that are only read lie in `data`:
`python executorch_models.py` writes them anew.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch


class TwoEnds(torch.nn.Module):
    """A picture and ids in; a map and a vector out, of different ranks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.BatchNorm2d(8), torch.nn.ReLU()
        )
        self.embed = torch.nn.Embedding(12, 8)
        self.head = torch.nn.Linear(8, 5)

    def forward(self, image: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.stem(image)
        return features, self.head(features.mean((2, 3)) + self.embed(ids).mean(1))


class Joined(torch.nn.Module):
    """An output that holds large numbers beside small ones, as detectors do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 16, 3)
        self.boxes = torch.nn.Conv2d(16, 4, 1)
        self.scores = torch.nn.Conv2d(16, 4, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.conv(image)
        return torch.cat([self.boxes(x) * 1000, self.scores(x).sigmoid()], 1).flatten(2)


class Places(torch.nn.Module):
    """Arithmetic on indices beside that on reals; an input handed through; named outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)

    def forward(self, b: torch.Tensor, a: torch.Tensor) -> dict[str, torch.Tensor]:
        places = torch.arange(4)[None].expand(b.shape[0], -1) * 3 + 1
        return {"sum": self.linear(b) + a, "places": places, "handed": b}


class Branching(torch.nn.Module):
    """Control flow that depends on values."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> Any:
        return torch.cond(x.sum() > 0, lambda x: self.linear(x), lambda x: x * 2, (x,))


class Bessel(torch.nn.Module):
    """An operator that ExecuTorch does not have."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.special.i0(x) + x


class Volume(torch.nn.Module):
    """A convolution whose kernel turns it down only when it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv3d(1, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


class Embeddings(torch.nn.Module):
    """Nothing that XNNPACK computes in integers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(12, 8)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.embed(ids), -1)


EXAMPLES = {
    "two-ends": (TwoEnds, lambda: (torch.rand(1, 3, 8, 8), torch.randint(0, 8, (1, 6)))),
    "joined": (Joined, lambda: (torch.rand(1, 3, 8, 8),)),
    "places": (Places, lambda: (torch.rand(2, 4), torch.rand(2, 4))),
    "branching": (Branching, lambda: (torch.rand(2, 4),)),
    "bessel": (Bessel, lambda: (torch.rand(2, 4),)),
    "volume": (Volume, lambda: (torch.rand(1, 1, 4, 4, 4),)),
    "embeddings": (Embeddings, lambda: (torch.randint(0, 8, (1, 6)),)),
}


def program(name: str, largest: int | None = 0) -> Any:
    """A seeded program.

    Args:
        largest: of the open batch axis; None leaves that without a limit, 0 fixes the axis.
    """
    torch.manual_seed(0)
    kind, examples = EXAMPLES[name]
    given = examples()
    if largest == 0:
        return torch.export.export(kind().eval(), given)
    batch = torch.export.Dim("batch", min=1, max=largest)
    wide = tuple(example.repeat_interleave(2, 0) for example in given)
    return torch.export.export(kind().eval(), wide, dynamic_shapes=tuple({0: batch} for _ in wide))


def write(folder: Path, name: str, largest: int | None = 0) -> Path:
    """Save a program as a user would."""
    path = folder / f"{name}.pt2"
    torch.export.save(program(name, largest), path)
    return path


DATA = Path(__file__).parent / "data"
FILES = {kind: DATA / f"two-ends-{kind}.pte" for kind in ("fp32", "int8", "open", "portable")}
"""In both precisions, with an open batch of at most 64, and as `portable` made."""


def portable() -> bytes:
    """A file as somebody else would make it: no names inside, nothing delegated."""
    from executorch.exir import to_edge

    return bytes(to_edge(program("two-ends")).to_executorch().buffer)


def converted(folder: Path, target: str, largest: int | None = 0) -> Path:
    """A file of convkit, its int8 without a layer in float."""
    import convkit

    (made,) = convkit.convert(
        write(folder, "two-ends", largest),
        to=target,
        output_dir=folder,
        synthetic_calibration=True,
        settings=convkit.Settings(keep_float="none"),
    ).outputs
    return made.path


def main() -> None:
    """Write the files that are only read."""
    DATA.mkdir(exist_ok=True)
    FILES["portable"].write_bytes(portable())
    for kind, target, largest in (
        ("fp32", "executorch", 0),
        ("int8", "executorch-int8", 0),
        ("open", "executorch", 64),
    ):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copyfile(converted(Path(folder), target, largest), FILES[kind])


if __name__ == "__main__":
    main()
