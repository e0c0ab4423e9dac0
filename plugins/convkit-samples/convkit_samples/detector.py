"""A small anchor-free detector with a distribution head, in plain torch.

Convolution blocks are conv + batch norm + SiLU; stages split, refine and concatenate
their channels; a top-down neck joins three scales; decoupled heads predict on strides
8 and 16. Written for this package from the published ideas, not from another code base.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from convkit_samples.scenes import CLASSES, SIZE

STRIDES = (8, 16)
BINS = 16
"""Number of distance bins of a box side, in units of the stride."""


class Conv(nn.Module):
    """Convolution, batch norm and SiLU; the spatial size is divided by ``stride``."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 (n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        y: Tensor = self.act(self.norm(self.conv(x)))
        return y


class Residual(nn.Module):
    """Two 3x3 blocks, with a skip connection where asked for."""

    def __init__(self, channels: int, skip: bool) -> None:
        super().__init__()
        self.first = Conv(channels, channels)
        self.second = Conv(channels, channels)
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (n, channels, h, w)."""
        y: Tensor = self.second(self.first(x))
        return x + y if self.skip else y


class Stage(nn.Module):
    """Split the channels, refine one half step by step, join every intermediate result."""

    def __init__(self, inputs: int, outputs: int, depth: int = 1, skip: bool = True) -> None:
        super().__init__()
        half = outputs // 2
        self.halves = (half, half)
        self.enter = Conv(inputs, 2 * half, 1)
        self.blocks = nn.ModuleList(Residual(half, skip) for _ in range(depth))
        self.leave = Conv((2 + depth) * half, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs, h, w) to (n, outputs, h, w)."""
        parts = list(self.enter(x).split(self.halves, dim=1))
        for block in self.blocks:
            parts.append(block(parts[-1]))
        y: Tensor = self.leave(torch.cat(parts, dim=1))
        return y


class Pyramid(nn.Module):
    """Pool repeatedly over 5x5 windows and join the results: a wider view at no stride."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.enter = Conv(channels, half, 1)
        self.pool = nn.MaxPool2d(5, stride=1, padding=2)
        self.leave = Conv(4 * half, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (n, channels, h, w)."""
        parts = [self.enter(x)]
        for _ in range(3):
            parts.append(self.pool(parts[-1]))
        y: Tensor = self.leave(torch.cat(parts, dim=1))
        return y


class Backbone(nn.Module):
    """Feature maps on strides 8, 16 and 32 with 48, 80 and 96 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Conv(3, 16, stride=2)
        self.down4 = Conv(16, 24, stride=2)
        self.stage4 = Stage(24, 24)
        self.down8 = Conv(24, 48, stride=2)
        self.stage8 = Stage(48, 48, depth=2)
        self.down16 = Conv(48, 80, stride=2)
        self.stage16 = Stage(80, 80)
        self.down32 = Conv(80, 96, stride=2)
        self.stage32 = Stage(96, 96)
        self.pyramid = Pyramid(96)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map images (n, 3, S, S) to the three feature maps, finest first."""
        at8 = self.stage8(self.down8(self.stage4(self.down4(self.stem(images)))))
        at16 = self.stage16(self.down16(at8))
        at32 = self.pyramid(self.stage32(self.down32(at16)))
        return at8, at16, at32


class Neck(nn.Module):
    """Carry coarse features down to the finer maps."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.join16 = Stage(96 + 80, 72, skip=False)
        self.join8 = Stage(72 + 48, 48, skip=False)

    def forward(self, at8: Tensor, at16: Tensor, at32: Tensor) -> tuple[Tensor, Tensor]:
        """Join the three maps into two: (n, 48, S/8, S/8) and (n, 72, S/16, S/16)."""
        middle = self.join16(torch.cat([self.up(at32), at16], dim=1))
        fine = self.join8(torch.cat([self.up(middle), at8], dim=1))
        return fine, middle


class Head(nn.Module):
    """Decoupled predictions of one feature map: box distance bins, and class logits."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.box = nn.Sequential(Conv(channels, 32), Conv(32, 32), nn.Conv2d(32, 4 * BINS, 1))
        self.score = nn.Sequential(Conv(channels, 32), Conv(32, 32), nn.Conv2d(32, classes, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (n, channels, h, w) to logits (n, 64, h * w) and (n, classes, h * w)."""
        return _flat(self.box(x)), _flat(self.score(x))


class Decode(nn.Module):
    """Turn the heads' logits into boxes in pixels and scores: the post-processing."""

    points: Tensor
    strides: Tensor
    bins: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        points, strides = anchors(size)
        self.register_buffer("points", points)
        self.register_buffer("strides", strides)
        self.register_buffer("bins", torch.arange(BINS, dtype=torch.float32).reshape(BINS, 1))

    def distances(self, logits: Tensor) -> Tensor:
        """Expected left, top, right, bottom distances (n, 4, anchors) in strides."""
        bins = logits.reshape(logits.shape[0], 4, BINS, -1).transpose(2, 3)
        return torch.matmul(bins.softmax(dim=3), self.bins).squeeze(3)

    def forward(self, boxes: Tensor, scores: Tensor) -> Tensor:
        """Map logits (n, 64, anchors), (n, classes, anchors) to (n, 4 + classes, anchors)."""
        before, after = torch.split(self.distances(boxes), [2, 2], dim=1)
        centre = self.points + (after - before) * 0.5
        decoded = torch.cat([centre, before + after], dim=1) * self.strides
        return torch.cat([decoded, scores.sigmoid()], dim=1)


class Detector(nn.Module):
    """Images float32 (n, 3, S, S), RGB 0..1, to predictions float32 (n, 4 + 10, anchors).

    The rows of a prediction are cx, cy, w, h in input pixels, then ten class scores 0..1.
    """

    def __init__(self, size: int = SIZE, classes: int = len(CLASSES)) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.neck = Neck()
        self.head8 = Head(48, classes)
        self.head16 = Head(72, classes)
        self.decode = Decode(size)
        self._start_low()

    def _start_low(self) -> None:
        """Start with few detections and short distances, which keeps early losses small."""
        for head in (self.head8, self.head16):
            _fill_bias(head.score, -4.5)
            _fill_bias(head.box, 1.0)

    def logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Raw outputs of all heads: (n, 64, anchors) and (n, classes, anchors)."""
        fine, middle = self.neck(*self.backbone(images))
        box8, score8 = self.head8(fine)
        box16, score16 = self.head16(middle)
        return torch.cat([box8, box16], dim=2), torch.cat([score8, score16], dim=2)

    def forward(self, images: Tensor) -> Tensor:
        """Predict (n, 4 + classes, anchors); see the class."""
        prediction: Tensor = self.decode(*self.logits(images))
        return prediction


def _flat(x: Tensor) -> Tensor:
    """Map (n, channels, h, w) to (n, channels, h * w)."""
    return x.reshape(x.shape[0], x.shape[1], -1)


def _fill_bias(branch: nn.Sequential, value: float) -> None:
    """Set the bias of a branch's last convolution."""
    bias = branch[-1].bias
    assert isinstance(bias, Tensor)
    nn.init.constant_(bias, value)


def anchors(size: int) -> tuple[Tensor, Tensor]:
    """Cell centres (1, 2, anchors) as x y in strides, and strides (1, 1, anchors) in pixels."""
    points, strides = [], []
    for stride in STRIDES:
        axis = torch.arange(size // stride, dtype=torch.float32) + 0.5
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        points.append(torch.stack([x.flatten(), y.flatten()]))
        strides.append(torch.full((1, axis.numel() ** 2), float(stride)))
    return torch.cat(points, dim=1)[None], torch.cat(strides, dim=1)[None]


def fold(model: Detector) -> Detector:
    """Fold every batch norm into its convolution, in place; the model must be in eval mode."""
    for module in model.modules():
        if isinstance(module, Conv) and isinstance(module.norm, nn.BatchNorm2d):
            module.conv = fuse_conv_bn_eval(module.conv, module.norm)
            module.norm = nn.Identity()
    return model


def parameters(model: nn.Module) -> int:
    """Number of trainable values (buffers not counted)."""
    return sum(p.numel() for p in model.parameters())
