"""A small convolutional classifier: eight quantizable layers, ReLU, few enough for brute force."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from tests.models.pictures import CLASSES, tensors, write_data
from tests.models.training import accuracy, fit, save

DEPENDS_ON = (__name__, "tests.models.pictures", "tests.models.training", "convkit_samples.scenes")
DISTRIBUTIONS = ("numpy", "pillow", "scikit-learn", "torch")


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class Cnn(nn.Module):
    """Pictures float32 (n, 1, 16, 16) to class scores (n, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            _block(1, 16),
            _block(16, 16),
            _block(16, 24, stride=2),
            _block(24, 24),
            _block(24, 32, stride=2),
            _block(32, 32),
        )
        self.hidden = nn.Linear(32 * 16, 48)
        self.scores = nn.Linear(48, CLASSES)

    def forward(self, picture: Tensor) -> Tensor:
        """See the class."""
        found = self.features(picture).flatten(1)
        scores: Tensor = self.scores(nn.functional.relu(self.hidden(found)))
        return scores


def train(folder: Path) -> None:
    """Write `model.pt2`, `calibration.npz`, `validation.npz` and `facts.json`."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Cnn()
    images, labels = tensors("train", 8000, 0)
    fit(model, [images], labels, epochs=5)
    images, labels = tensors("validation", 1000, 2)
    save(model, (images[:1],), folder, top1=accuracy(model, [images], labels))
    write_data(folder)
