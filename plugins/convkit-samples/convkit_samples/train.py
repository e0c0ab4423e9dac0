"""Train the digit detector: ``python -m convkit_samples.train --out DIR``."""

import argparse
import copy
import io
import math
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convkit_samples.coco import jpeg, read_image, write_coco
from convkit_samples.detector import Detector, fold, parameters
from convkit_samples.evaluate import Array, mean_average_precision
from convkit_samples.losses import Truth, loss
from convkit_samples.scenes import MAX_DIGITS, scene

VALIDATION_SEED, VALIDATION_COUNT = 0, 200

Labelled = tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int64]]
"""Image (S, S, 3), boxes (MAX_DIGITS, 4) in pixels, labels (MAX_DIGITS,) padded with -1."""


def _sample(job: tuple[int, int]) -> Labelled:
    """A training scene (index, seed) as its JPEG decodes."""
    image, boxes, labels = scene("train", *job)
    spare = MAX_DIGITS - len(labels)
    return (
        read_image(io.BytesIO(jpeg(image))),
        np.pad(boxes, ((0, spare), (0, 0))),
        np.pad(labels, (0, spare), constant_values=-1),
    )


class Cache:
    """Training scenes held in memory: images uint8 NCHW, boxes and labels padded."""

    def __init__(self, count: int, seed: int) -> None:
        jobs = [(index, seed) for index in range(count)]
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            samples = list(pool.map(_sample, jobs, chunksize=100))
        self.images = torch.from_numpy(np.stack([s[0] for s in samples])).permute(0, 3, 1, 2)
        self.boxes = torch.from_numpy(np.stack([s[1] for s in samples]))
        self.labels = torch.from_numpy(np.stack([s[2] for s in samples]))

    def batch(self, rows: Tensor) -> tuple[Tensor, Truth]:
        """Images float32 (n, 3, S, S) 0..1 with random colours, and their labels."""
        labels = self.labels[rows]
        truth = Truth(self.boxes[rows], labels.clamp(min=0), labels >= 0)
        return recolour(self.images[rows].float() / 255), truth


def recolour(images: Tensor) -> Tensor:
    """Randomly permute channels, invert, and change contrast and brightness; same shape."""
    n = images.shape[0]
    images = images[:, torch.randperm(3)]
    flipped = torch.rand(n, 1, 1, 1) < 0.3
    images = torch.where(flipped, 1 - images, images)
    contrast = 1 + (torch.rand(n, 1, 1, 1) - 0.5) * 0.5
    shift = (torch.rand(n, 3, 1, 1) - 0.5) * 0.2
    return ((images - 0.5) * contrast + 0.5 + shift).clamp(0, 1)


def _rate(step: int, steps: int) -> float:
    """Factor of the learning rate: a linear warm-up, then half a cosine."""
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _optimizer(model: Detector, rate: float, decay: float) -> torch.optim.Optimizer:
    """AdamW that decays convolution weights alone."""
    kernels = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": kernels, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate)


@torch.no_grad()
def _average(mean: Detector, model: Detector, step: int) -> None:
    """Move the averaged weights and statistics towards the trained ones."""
    decay = min(0.999, (step + 1) / (step + 20))
    kept, new = (
        [value for value in m.state_dict().values() if value.dtype.is_floating_point]
        for m in (mean, model)
    )
    torch._foreach_lerp_(kept, new, 1 - decay)


def train(cache: Cache, epochs: int, batch: int, rate: float, decay: float) -> Detector:
    """Train on the cache and return the averaged model, in eval mode."""
    model = Detector()
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    mean = copy.deepcopy(model)
    optimizer = _optimizer(model, rate, decay)
    count = cache.images.shape[0]
    steps = epochs * (count // batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
    start, step, recent = time.perf_counter(), 0, 0.0
    for epoch in range(epochs):
        for rows in torch.randperm(count)[: count // batch * batch].reshape(-1, batch):
            images, truth = cache.batch(rows)
            images = images.contiguous(memory_format=torch.channels_last)
            logits = model.logits(images)
            total = loss(logits, model.decode, truth)
            optimizer.zero_grad()
            total.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
            schedule.step()
            _average(mean, model, step)
            step += 1
            recent = 0.98 * recent + 0.02 * total.item()
        spent = time.perf_counter() - start
        print(f"epoch {epoch + 1}/{epochs}: loss {recent:.3f}, {spent:.0f} s", flush=True)
    mean.eval()
    return mean


class Predictor:
    """A torch model as a function of numpy arrays."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model

    @torch.no_grad()
    def __call__(self, images: Array) -> Array:
        """Images (1, 3, S, S) to a prediction (1, 4 + classes, anchors)."""
        prediction: Array = self.model(torch.from_numpy(images)).numpy()
        return prediction


def main() -> None:
    """Train, fold the batch norms, measure on the validation scenes, save the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for weights.pt")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--scenes", type=int, default=12_000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--decay", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.use_deterministic_algorithms(True)
    cache = Cache(options.scenes, options.seed)
    model = train(cache, options.epochs, options.batch, options.rate, options.decay)
    fold(model)
    model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    options.out.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), options.out / "weights.pt")
    with tempfile.TemporaryDirectory() as folder:
        write_coco("validation", VALIDATION_COUNT, VALIDATION_SEED, Path(folder))
        score = mean_average_precision(Predictor(model), Path(folder))
    print(f"{parameters(model)} parameters, mAP@0.5:0.95 {score:.4f}")


if __name__ == "__main__":
    main()
