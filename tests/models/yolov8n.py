"""An ultralytics YOLOv8n trained on the digit scenes, from random weights.

The architecture, the loss and the checkpoint's form are those of ultralytics, used through its own
objects; the loop is this project's. The checkpoint `yolov8n.pt` is as its training leaves one: the
averaged model in half precision, with its training arguments. About 15 minutes on an
idle core.
"""

from __future__ import annotations

import copy
import math
import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convkit_samples.coco import write_coco
from convkit_samples.scenes import CLASSES, SIZE, Split
from convkit_samples.train import Cache

DEPENDS_ON = (__name__, "convkit_samples.scenes", "convkit_samples.train")
DISTRIBUTIONS = ("numpy", "pillow", "scikit-learn", "torch", "ultralytics")

SEED = 0
SCENES, EPOCHS, BATCH = 12_000, 3, 32
RATE, DECAY = 2e-3, 0.05
HORIZON = 5
"""Epochs until the learning rate would have fallen to nothing, did the last epoch not cut it."""
THREADS = 1
"""One, so that the weights do not depend on the number of processors."""
CHECKPOINT_STEPS = 50

VALIDATION, CALIBRATION = 200, 80
"""Numbers of scenes."""
DATASET = f"""\
[transform]
resize = [{SIZE}, {SIZE}]
mode = "letterbox"

[detection]
decoder = "yolo"
score_threshold = 0.001
iou_threshold = 0.6
max_detections = 100
"""


def ultralytics_model(folder: Path) -> Any:
    """A YOLOv8n of ultralytics with random weights, for training; its settings file goes into
    `folder`, and nothing is downloaded or installed."""
    os.environ.update(
        YOLO_OFFLINE="True",
        YOLO_AUTOINSTALL="False",
        YOLO_VERBOSE="False",
        HF_HUB_OFFLINE="1",
        YOLO_CONFIG_DIR=str(folder / "settings"),
    )
    (folder / "settings").mkdir(exist_ok=True)
    from ultralytics.cfg import get_cfg
    from ultralytics.nn.tasks import DetectionModel

    model: Any = DetectionModel("yolov8n.yaml", nc=len(CLASSES), verbose=False)  # type: ignore[no-untyped-call]
    model.args = get_cfg(overrides={"imgsz": SIZE})
    model.names = dict(enumerate(CLASSES))
    return model


def train(folder: Path) -> None:
    """Write `yolov8n.pt`, `calibration/` and `validation/`; resume from `resume.pt` if it lies
    there."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_num_threads(THREADS)
    torch.manual_seed(SEED)
    model = ultralytics_model(folder).to(memory_format=torch.channels_last)
    cache = Cache(SCENES, SEED)
    mean = copy.deepcopy(model).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(_groups(model), lr=RATE)
    per_epoch = SCENES // BATCH
    start = _resume(folder / "resume.pt", model, mean, optimizer)
    criterion = model.init_criterion()
    began, recent = time.perf_counter(), 0.0
    for step in range(start, EPOCHS * per_epoch):
        # Everything random depends on the step alone, so that a resumed run is the same run.
        torch.manual_seed(SEED + step // per_epoch)
        rows = torch.randperm(SCENES)[(step % per_epoch) * BATCH :][:BATCH]
        torch.manual_seed(SEED + 1_000_003 + step)
        for group in optimizer.param_groups:
            group["lr"] = RATE * _rate(step, per_epoch)
        images, targets = batch(cache, rows)
        images = images.contiguous(memory_format=torch.channels_last)
        total = criterion(model(images), targets)[0].sum() / BATCH
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        _average(mean, model, step)
        recent = total.item() if step == start else 0.98 * recent + 0.02 * total.item()
        if (step + 1) % CHECKPOINT_STEPS == 0:
            _save(folder / "resume.pt", model, mean, optimizer, step + 1)
            spent = time.perf_counter() - began
            done = step + 1 - start
            print(
                f"step {step + 1}/{EPOCHS * per_epoch}: loss {recent:.3f}, {spent:.0f} s,"
                f" {BATCH * done / spent:.0f} scenes/s",
                flush=True,
            )
    mean.to(memory_format=torch.contiguous_format)
    write_checkpoint(mean, model.args, folder / "yolov8n.pt")
    write_data(folder)
    (folder / "resume.pt").unlink(missing_ok=True)


def batch(cache: Cache, rows: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Images float32 (n, 3, SIZE, SIZE) in 0..1, and labels as ultralytics' loss takes them:
    `batch_idx` (m,), `cls` (m, 1), `bboxes` (m, 4) as cx cy w h in 0..1."""
    images, truth = cache.batch(rows)
    where = truth.present.nonzero()[:, 0]
    corners = truth.boxes[truth.present] / SIZE
    low, high = corners[:, :2], corners[:, 2:]
    return images, {
        "batch_idx": where.float(),
        "cls": truth.labels[truth.present].float()[:, None],
        "bboxes": torch.cat([(low + high) / 2, high - low], dim=1),
    }


def write_checkpoint(mean: Any, arguments: Any, path: Path) -> None:
    """A checkpoint as ultralytics' own training leaves one."""
    from ultralytics import __version__

    model = copy.deepcopy(mean).train().requires_grad_(True)
    model.args = arguments
    torch.save(
        {
            "epoch": -1,
            "best_fitness": None,
            "model": None,
            "ema": model.half(),
            "updates": 0,
            "optimizer": None,
            "train_args": {"imgsz": SIZE, "task": "detect"},
            "train_metrics": {},
            "version": __version__,
        },
        path,
    )


def write_data(folder: Path) -> None:
    """Scenes to calibrate with and to validate on, each with its `dataset.toml`."""
    counts: dict[Split, int] = {"calibration": CALIBRATION, "validation": VALIDATION}
    for split, count in counts.items():
        write_coco(split, count, SEED, folder / split)
        (folder / split / "dataset.toml").write_text(DATASET)


def _groups(model: Any) -> list[dict[str, Any]]:
    """Weight decay for kernels alone."""
    wanted = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in wanted if p.ndim > 1], "weight_decay": DECAY},
        {"params": [p for p in wanted if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _rate(step: int, per_epoch: int) -> float:
    """Factor of the learning rate: a linear warm-up, half a cosine over the horizon, and a straight
    fall in the last epoch."""
    horizon = HORIZON * per_epoch
    warm = max(1, horizon // 20)
    if step < warm:
        return (step + 1) / warm
    slow = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warm) / (horizon - warm)))
    return slow * min(1.0, (EPOCHS * per_epoch - step) / per_epoch)


@torch.no_grad()
def _average(mean: Any, model: Any, step: int) -> None:
    """Move the averaged weights and statistics towards the trained ones."""
    decay = min(0.999, (step + 1) / (step + 20))
    kept, new = (
        [value for value in m.state_dict().values() if value.dtype.is_floating_point]
        for m in (mean, model)
    )
    torch._foreach_lerp_(kept, new, 1 - decay)


def _save(path: Path, model: Any, mean: Any, optimizer: Any, step: int) -> None:
    state = {
        "step": step,
        "model": model.state_dict(),
        "mean": mean.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    torch.save(state, path.with_suffix(".new"))
    os.replace(path.with_suffix(".new"), path)


def _resume(path: Path, model: Any, mean: Any, optimizer: Any) -> int:
    """The step to go on with."""
    if not path.is_file():
        return 0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    mean.load_state_dict(state["mean"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])
