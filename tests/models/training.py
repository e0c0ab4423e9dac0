"""The loop that trains the small classifiers, and how they are saved."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn


def fit(
    model: nn.Module,
    inputs: Sequence[Tensor],
    labels: Tensor,
    *,
    epochs: int,
    batch: int = 64,
    rate: float = 2e-3,
    decay: float = 0.02,
    seed: int = 0,
) -> None:
    """Train a classifier in place, and leave it in eval mode.

    Args:
        inputs: one tensor per argument of the model, samples along the first axis.
        labels: class indices (n,).
    """
    torch.manual_seed(seed)
    count = len(labels)
    steps = epochs * (count // batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(count)[: count // batch * batch].reshape(-1, batch):
            scores = model(*(tensor[rows] for tensor in inputs))
            loss = nn.functional.cross_entropy(scores, labels[rows], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    model.eval().requires_grad_(False)


@torch.no_grad()
def accuracy(model: nn.Module, inputs: Sequence[Tensor], labels: Tensor) -> float:
    """Share of samples whose best class is right."""
    return float((model(*inputs).argmax(1) == labels).float().mean())


def save(model: nn.Module, sample: tuple[Tensor, ...], folder: Path, **facts: float) -> None:
    """Write `model.pt2`, for one sample at a time, and `facts.json`."""
    torch.export.save(torch.export.export(model, sample, strict=False), folder / "model.pt2")
    (folder / "facts.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
