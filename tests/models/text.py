"""A text classifier: Embedding, LayerNorm, attention under a mask; two inputs of integers.

A text is a walk through one of eight small grammars over the same words, of 10 to 24 words with
some replaced by chance, and padded. A grammar says which words may follow which, so that single
words tell little; the class is the grammar.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tests.models.training import accuracy, fit, save
from tests.models.transformer import Block

DEPENDS_ON = (__name__, "tests.models.training", "tests.models.transformer")
DISTRIBUTIONS = ("numpy", "torch")

WORDS, LENGTH, SHORTEST, CLASSES = 40, 24, 10, 8
FOLLOWERS, MISPRINTS = 4, 0.12
PADDING = 0
WIDTH, HEADS, DEPTH = 48, 4, 4

Texts = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""Words (n, LENGTH), 1 to WORDS, padded with 0; mask (n, LENGTH), 1 for words; classes (n,)."""


def grammars() -> NDArray[np.int64]:
    """The words that may follow each word, int64 (CLASSES, WORDS, FOLLOWERS), counted from 0."""
    rng = np.random.default_rng(5)
    return np.stack(
        [
            np.stack([rng.choice(WORDS, FOLLOWERS, replace=False) for _ in range(WORDS)])
            for _ in range(CLASSES)
        ]
    )


def texts(count: int, seed: int) -> Texts:
    """Draw texts."""
    rng = np.random.default_rng(seed)
    rules = grammars()
    labels = rng.integers(0, CLASSES, count)
    words = np.empty((count, LENGTH), np.int64)
    words[:, 0] = rng.integers(0, WORDS, count)
    for place in range(1, LENGTH):
        follower = rng.integers(0, FOLLOWERS, count)
        words[:, place] = rules[labels, words[:, place - 1], follower]
    wrong = rng.random(words.shape) < MISPRINTS
    words = np.where(wrong, rng.integers(0, WORDS, words.shape), words) + 1
    lengths = rng.integers(SHORTEST, LENGTH + 1, count)
    mask = (np.arange(LENGTH) < lengths[:, None]).astype(np.int64)
    return np.where(mask == 1, words, PADDING), mask, labels


class Text(nn.Module):
    """Words and mask, int64 (n, 24) both, to class scores (n, 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS + 1, WIDTH)
        self.places = nn.Embedding(LENGTH, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.blocks = nn.ModuleList(Block(WIDTH, HEADS) for _ in range(DEPTH))
        self.last = nn.LayerNorm(WIDTH)
        self.scores = nn.Linear(WIDTH, CLASSES)
        self.register_buffer("order", torch.arange(LENGTH))

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        """See the class."""
        present = mask.to(torch.float32)
        x = self.norm(self.words(words) + self.places(self.order))
        bias = (1.0 - present)[:, None, None, :] * torch.finfo(torch.float32).min
        for block in self.blocks:
            x = block(x, bias)
        weights = (present / present.sum(1, keepdim=True))[:, :, None]
        scores: Tensor = self.scores((self.last(x) * weights).sum(1))
        return scores


def train(folder: Path) -> None:
    """Write `model.pt2`, `calibration.npz`, `validation.npz` and `facts.json`."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Text()
    words, mask, labels = (torch.from_numpy(array) for array in texts(20_000, 0))
    fit(model, [words, mask], labels, epochs=6, rate=3e-3)
    words, mask, labels = (torch.from_numpy(array) for array in texts(1000, 2))
    top1 = accuracy(model, [words, mask], labels)
    save(model, (words[:1], mask[:1]), folder, top1=top1)
    np.savez(folder / "validation.npz", words=words, mask=mask, y=labels)
    words, mask, _ = (torch.from_numpy(array) for array in texts(200, 1))
    np.savez(folder / "calibration.npz", words=words, mask=mask)
