"""A deeper classifier: inverted residuals with depthwise convolutions and SiLU, 38 quantizable
layers before activations and sums are counted."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from tests.models.pictures import CLASSES, tensors, write_data
from tests.models.training import accuracy, fit, save

DEPENDS_ON = (__name__, "tests.models.pictures", "tests.models.training", "convkit_samples.scenes")
DISTRIBUTIONS = ("numpy", "pillow", "scikit-learn", "torch")

BLOCKS = ((16, 1), (16, 1), (16, 1), (24, 2), (24, 1), (24, 1), (24, 1), (40, 1), (40, 1), (40, 1),
          (40, 1), (40, 1))  # fmt: skip
"""Channels and stride of each block."""


class Conv(nn.Module):
    """Convolution, batch norm and, unless it projects, SiLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1,
        active: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(outputs)
        self.act: nn.Module = nn.SiLU() if active else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        y: Tensor = self.act(self.norm(self.conv(x)))
        return y


class Inverted(nn.Module):
    """Widen, convolve each channel by itself, narrow; a skip connection where shapes allow it."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        wide = 3 * inputs
        self.widen = Conv(inputs, wide, 1)
        self.depth = Conv(wide, wide, 3, stride, groups=wide)
        self.narrow = Conv(wide, outputs, 1, active=False)
        self.skip = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        y: Tensor = self.narrow(self.depth(self.widen(x)))
        return x + y if self.skip else y


class Residual(nn.Module):
    """Pictures float32 (n, 1, 16, 16) to class scores (n, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Conv(1, 16, 3, 2)
        blocks, inputs = [], 16
        for outputs, stride in BLOCKS:
            blocks.append(Inverted(inputs, outputs, stride))
            inputs = outputs
        self.blocks = nn.ModuleList(blocks)
        self.scores = nn.Linear(inputs, CLASSES)

    def forward(self, picture: Tensor) -> Tensor:
        """See the class."""
        x = self.stem(picture)
        for block in self.blocks:
            x = block(x)
        scores: Tensor = self.scores(x.mean((2, 3)))
        return scores


def train(folder: Path) -> None:
    """Write `model.pt2`, `calibration.npz`, `validation.npz` and `facts.json`."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Residual()
    images, labels = tensors("train", 8000, 0)
    fit(model, [images], labels, epochs=4, rate=4e-3)
    images, labels = tensors("validation", 1000, 2)
    save(model, (images[:1],), folder, top1=accuracy(model, [images], labels))
    write_data(folder)
