"""The small networks that are lied about. Their numbers stand out on purpose: statistics far from
a fresh layer's, activations above six, a bias that matters; a fault must show, not only exist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

BATCH, SIDE, TOKENS, VOCABULARY, WIDTH, CLASSES = 2, 16, 12, 300, 16, 6
SAMPLES = 6
BRIGHT, FAINT = 4, 1
"""The sample that is brighter than all others, and the one that is a thousand times weaker."""


def vision() -> Any:
    """Two images in; logits, scores of their shape, segments, an energy, a tone and boxes out."""
    import torch
    from torch import nn
    from torch.nn import functional as F  # noqa: N812 - its usual name

    class Vision(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 6, 3, padding=1)
            self.norm = nn.BatchNorm2d(6)
            self.block = nn.Conv2d(6, 6, 3, padding=1)
            self.other = nn.Conv2d(3, 6, 1)
            self.down = nn.Conv2d(12, 8, 3, stride=2, padding=1)
            self.square = nn.Linear(8, 8)
            self.head = nn.Linear(8, CLASSES)
            self.segment = nn.Conv2d(8, 4, 1)
            self.tone = nn.Conv2d(3, 2, 4, stride=4, bias=False)
            self.register_buffer("grid", torch.arange(100.0, 500.0, 100.0).reshape(1, 1, 1, 4))

        def forward(self, image: Any, guide: Any) -> Any:
            x = self.norm(torch.relu(self.stem(image)))  # behind a ReLU no exporter folds it away
            x = torch.relu(x)
            x = x + self.block(x)
            x = torch.cat([x, torch.sigmoid(self.other(guide))], 1)
            x = F.max_pool2d(x, 3, 2, 1)
            x = F.interpolate(x, size=(12, 12), mode="bilinear", align_corners=False)
            x = self.down(x[:, :, 1:11, 1:11])
            v = torch.relu(self.square(F.adaptive_avg_pool2d(x, 1).flatten(1)))
            logits = self.head(v)
            segments = torch.softmax(self.segment(x), 1)
            energy = torch.log((1000 * x).pow(2).sum((1, 2, 3)))
            scores = torch.softmax(logits / 4, 1)
            tone = self.tone(image)
            boxes = self.grid + tone * 0.5  # of which most is where they lie, and alike for all
            return logits, scores, segments, energy, tone, boxes

    torch.manual_seed(11)
    network = Vision().eval()
    with torch.no_grad():
        network.norm.running_mean.uniform_(0.1, 0.6)
        network.norm.running_var.uniform_(0.006, 0.02)
        network.norm.weight.uniform_(0.5, 1.5)
        network.norm.bias.uniform_(-0.5, 1.5)
        for layer in (network.block, network.other, network.down, network.segment):
            layer.weight.mul_(2)
        network.square.bias.uniform_(0, 2)
        network.head.weight.mul_(2)
        network.head.bias.uniform_(-2, 2)
    return network


def text() -> Any:
    """Token ids and a mask in; class logits and the hidden states out."""
    import torch
    from torch import nn

    class Text(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(VOCABULARY, WIDTH)
            self.first = nn.LayerNorm(WIDTH)
            self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
            self.second = nn.LayerNorm(WIDTH)
            self.up, self.down = nn.Linear(WIDTH, 32), nn.Linear(32, WIDTH)
            self.head = nn.Linear(WIDTH, CLASSES)

        def forward(self, ids: Any, mask: Any) -> Any:
            x = self.first(self.embed(ids))
            scores = self.query(x) @ self.key(x).transpose(1, 2) / WIDTH**0.5
            scores = scores.masked_fill(~mask.unsqueeze(1), -1e4)
            x = x + torch.softmax(scores, -1) @ self.value(x)
            hidden = self.down(torch.nn.functional.gelu(self.up(self.second(x))))
            return self.head(hidden.mean(1)), hidden

    torch.manual_seed(12)
    network = Text().eval()
    with torch.no_grad():
        network.embed.weight.mul_(0.05)  # its variance is near any epsilon
        for layer in (network.query, network.key):
            layer.weight.mul_(4)
        # GELU works in its tail, where the approximations of it disagree
        network.up.weight.mul_(0.25)
        network.up.bias.uniform_(-3.2, -2.2)
        network.down.weight.mul_(40)
        network.down.bias.zero_()
    return network


def plain() -> Any:
    """One image in, two outputs of one shape out: what a quantizer takes whole."""
    import torch
    from torch import nn

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 3, padding=1)
            self.body = nn.Conv2d(8, 8, 3, stride=2, padding=1)
            self.left, self.right = nn.Linear(8 * 8 * 8, CLASSES), nn.Linear(8 * 8 * 8, CLASSES)

        def forward(self, image: Any) -> Any:
            x = torch.relu(self.body(torch.relu(self.stem(image)))).flatten(1)
            return self.left(x), self.right(x)

    torch.manual_seed(13)
    network = Plain().eval()
    with torch.no_grad():
        for layer in (network.stem, network.body, network.left, network.right):
            layer.weight.mul_(2)
        for layer in (network.left, network.right):
            layer.bias.uniform_(-2, 2)
    return network


def samples(name: str) -> list[tuple[Any, ...]]:
    """Inputs in the order of the network's, alike in every session."""
    import numpy as np

    rng = np.random.default_rng(21)
    found: list[tuple[Any, ...]] = []
    for number in range(SAMPLES):
        if name == "text":
            ids = rng.integers(0, VOCABULARY, (1, TOKENS))
            mask = np.arange(TOKENS)[None] < rng.integers(5, TOKENS)
            found.append((ids, mask))
            continue
        batch = BATCH if name == "vision" else 1
        shape = (batch, 3, SIDE, SIDE)
        # every channel has a level of its own, and brightness falls along both axes
        level = rng.standard_normal((batch, 3, 1, 1)) + (2.0 if number == BRIGHT else 0.0)
        fall = np.linspace(1, 0.2, SIDE)[:, None] * np.linspace(1, 0.5, SIDE)[None]
        light = 1e-3 if number == FAINT else 1.0
        image = (light * (rng.standard_normal(shape) + level) * fall).astype("float32")
        other = rng.standard_normal(shape).astype("float32")
        found.append((image, other) if name == "vision" else (image,))
    return found


def trials(name: str) -> list[tuple[Any, ...]]:
    """What a fault of a network is measured on: its samples, of the open one in pairs."""
    import numpy as np

    given = samples(name)
    if name != "open":
        return given
    pairs = zip(given[::2], given[1::2], strict=True)
    return [(np.concatenate([one, other]),) for (one,), (other,) in pairs]


def save(name: str, path: Path) -> Path:
    """Export a network to a `.pt2` file; `open` is the plain one with an open batch axis."""
    import torch

    network = {"vision": vision, "text": text, "plain": plain, "open": plain}[name]()
    inputs = tuple(torch.from_numpy(array) for array in samples(name)[0])
    shapes = None
    if name == "open":
        inputs = (torch.cat([inputs[0], inputs[0]]),)
        shapes = ({0: torch.export.Dim("batch")},)
    torch.export.save(torch.export.export(network, inputs, dynamic_shapes=shapes), path)
    return path
