"""Separable convolutions, as of MobileNet, for the digits: hard to quantize because channels of the
same tensor differ by orders of magnitude."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from tests.models.pictures import CLASSES, tensors, write_data
from tests.models.training import accuracy, fit, save

DEPENDS_ON = (__name__, "tests.models.pictures", "tests.models.training", "convkit_samples.scenes")
DISTRIBUTIONS = ("numpy", "pillow", "scikit-learn", "torch")


class Depthwise(nn.Module):
    """Separable convolutions, as of MobileNet: a matrix per channel, then one over channels."""

    def __init__(self) -> None:
        super().__init__()
        widths = ((16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 64, 1))
        self.features = nn.Sequential(
            *_step(nn.Conv2d(1, 16, 3, 1, 1, bias=False)),
            *(
                layer
                for inputs, outputs, stride in widths
                for layer in (
                    *_step(nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False)),
                    *_step(nn.Conv2d(inputs, outputs, 1, bias=False)),
                )
            ),
        )
        self.scores = nn.Linear(64, CLASSES)

    def forward(self, picture: Tensor) -> Tensor:
        """Pictures float32 (n, 1, 16, 16) to class scores (n, 10)."""
        scores: Tensor = self.scores(self.features(picture).mean((2, 3)))
        return scores


def _step(convolution: nn.Conv2d) -> tuple[nn.Module, ...]:
    return convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU()


def train(folder: Path) -> None:
    """Write `model.pt2`, `calibration.npz`, `validation.npz` and `facts.json`.

    Scales of normalizations start a decade apart, as long training on large pictures makes them;
    everything is trained from there.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Depthwise()
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.weight)
            part.weight.data.exp_()
    images, labels = tensors("train", 4000, 0)
    fit(model, [images], labels, epochs=6)
    images, labels = tensors("validation", 1000, 2)
    save(model, (images[:1],), folder, top1=accuracy(model, [images], labels))
    write_data(folder)
