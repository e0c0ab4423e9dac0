"""A vision transformer for the digits: 16 patches, six blocks, 38 matrix products with weights
and twelve without."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from tests.models.pictures import CLASSES, SIDE, tensors, write_data
from tests.models.training import accuracy, fit, save
from tests.models.transformer import Block

DEPENDS_ON = (
    __name__,
    "tests.models.pictures",
    "tests.models.training",
    "tests.models.transformer",
    "convkit_samples.scenes",
)
DISTRIBUTIONS = ("numpy", "pillow", "scikit-learn", "torch")

PATCH, WIDTH, HEADS, DEPTH = 4, 48, 4, 6


class Vit(nn.Module):
    """Pictures float32 (n, 1, 16, 16) to class scores (n, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Sequential(nn.LayerNorm(PATCH**2), nn.Linear(PATCH**2, WIDTH))
        self.places = nn.Parameter(0.02 * torch.randn(1, (SIDE // PATCH) ** 2, WIDTH))
        self.blocks = nn.ModuleList(Block(WIDTH, HEADS) for _ in range(DEPTH))
        self.norm = nn.LayerNorm(WIDTH)
        self.scores = nn.Linear(WIDTH, CLASSES)

    def forward(self, picture: Tensor) -> Tensor:
        """See the class."""
        rows = SIDE // PATCH
        cut = picture.reshape(-1, rows, PATCH, rows, PATCH).transpose(2, 3)
        x = self.patches(cut.reshape(-1, rows**2, PATCH**2)) + self.places
        for block in self.blocks:
            x = block(x)
        scores: Tensor = self.scores(self.norm(x).mean(1))
        return scores


def train(folder: Path) -> None:
    """Write `model.pt2`, `calibration.npz`, `validation.npz` and `facts.json`."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Vit()
    images, labels = tensors("train", 8000, 0)
    fit(model, [images], labels, epochs=8, rate=3e-3)
    images, labels = tensors("validation", 1000, 2)
    save(model, (images[:1],), folder, top1=accuracy(model, [images], labels))
    write_data(folder)
