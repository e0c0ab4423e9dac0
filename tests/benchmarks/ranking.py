"""The adjoint ranking against the exhaustive one: every tensor really rounded, one at a time.

Per model: how many tensors (activations and weights count apart), the time of the ranking in float
passes, Spearman's correlation with the truth, and that of the truth on one half of the samples with
the truth on the other: what no ranking can beat. Models of few layers are judged by the regret of
their top three: the share of the errors of the three worst tensors that choosing by the estimate
would leave. Then the passes against the number of layers.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

SAMPLES = 16
SPEARMAN, REGRET, PASSES = 0.95, 0.1, 8.0
MANY_LAYERS = 30
FLOOR = float(np.finfo(np.float32).eps) ** 2
"""Relative error power that float32 cannot tell from none; in a network with random weights most
tensors are of no more consequence."""
REPEATS = 3
DEPTHS = (10, 30, 100, 400)
TRAINED = ("cnn", "residual", "vit", "text")
DETECTORS = ("digits-yolo", "yolov8n")
RANDOM = ("yolov8n-untrained", "deit-tiny-untrained")


@dataclass(frozen=True)
class Row:
    """One model.

    Attributes:
        layers: operators with weights.
        tensors: what can be rounded alone: tensors with a scale of their own, and weights.
        passes: float passes that the ranking took; median of some runs.
        spearman: of the estimate with the truth; `halves` of the truth with itself.
        regret: of the top three.
        truth_passes: float passes that the truth takes.
    """

    model: str
    layers: int
    tensors: int
    passes: float
    spearman: float
    halves: float
    regret: float
    truth_passes: int

    @property
    def holds(self) -> bool:
        """Whether it is what is promised."""
        good = self.spearman >= SPEARMAN if self.layers >= MANY_LAYERS else self.regret <= REGRET
        return good and self.passes <= PASSES


def main(options: Sequence[str] = ()) -> bool:
    """Rank, and compare with the truth."""
    parser = argparse.ArgumentParser(prog="ranking")
    names = (*DETECTORS, *TRAINED, *RANDOM, "depths")
    parser.add_argument("--only", nargs="+", choices=names)
    chosen = parser.parse_args(options).only or names
    rows, depths = [], {}
    print(
        f"{'model':14}{'layers':>7}{'tensors':>8}{'passes':>8}{'Spearman':>9}{'halves':>8}"
        f"{'regret':>8}{'passes of the truth':>21}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen:
            if name == "depths":
                continue
            row = compare(name, *opened(name, Path(folder)))
            rows.append(row)
            print(
                f"{name:14}{row.layers:7}{row.tensors:8}{row.passes:8.1f}{row.spearman:9.3f}"
                f"{row.halves:8.3f}{row.regret:8.3f}{row.truth_passes:21}"
                + ("" if row.holds else "  MISSED"),
                flush=True,
            )
        for depth in DEPTHS if "depths" in chosen else ():
            artifact = saved(*_deep(depth), Path(folder) / f"{depth}.pt2")
            depths[depth] = _passes(artifact, _noise(artifact, SAMPLES))
            print(f"{depth:4} layers {depths[depth]:5.1f} passes  {'#' * round(4 * depths[depth])}")
    found = [{**asdict(row), "holds": row.holds} for row in rows]
    print(json.dumps({"benchmark": "ranking", "models": found, "depths": depths}), flush=True)
    return all(r.holds for r in rows) and all(p <= PASSES for p in depths.values())


def compare(name: str, artifact: Any, samples: Sequence[Any]) -> Row:
    """One model's row."""
    from scipy.stats import spearmanr

    from convkit.plugin import RankSettings
    from tests.benchmarks.simulation import Simulation

    settings = RankSettings(threads=1)
    found = ranked(artifact, samples, settings)
    passes = _passes(artifact, samples)
    truth = Simulation(artifact, samples, settings)
    singles = [((i,), ()) for i in truth.candidates] + [((), (i,)) for i in truth.weighted]
    errors = np.array([truth.errors(*single) for single in singles])
    activations = (found.activations**2).mean(0)[truth.candidates]
    weights = (found.weights**2).mean(0)[truth.weighted]
    guess, exact = np.concatenate([activations, weights]), errors.mean(1)
    guess, exact = np.maximum(guess, FLOOR), np.maximum(exact, FLOOR)
    best, ours = np.sort(exact)[-3:], exact[np.argsort(guess)[-3:]]
    one, other = (np.maximum(errors[:, n::2].mean(1), FLOOR) for n in (0, 1))
    return Row(
        model=name,
        layers=len(truth.weighted),
        tensors=len(singles),
        passes=passes,
        spearman=float(spearmanr(guess, exact).statistic),
        halves=float(spearmanr(one, other).statistic),
        regret=float(1.0 - ours.sum() / best.sum()),
        truth_passes=len(singles),
    )


def ranked(artifact: Any, samples: Sequence[Any], settings: Any) -> Any:
    from convkit.numerics import kinds
    from convkit_torch.adjoint import AdjointRanker

    def parts(values: Sequence[Any]) -> Sequence[Any]:
        return [part.index for part in kinds(values)]

    return AdjointRanker().rank(
        artifact, samples, settings, parts, lambda tensor: None, lambda phase, fraction: None
    )


def _passes(artifact: Any, samples: Sequence[Any]) -> float:
    from convkit.plugin import RankSettings

    one = RankSettings(threads=1)
    return statistics.median(ranked(artifact, samples, one).float_passes for _ in range(REPEATS))


def opened(name: str, folder: Path) -> tuple[Any, Sequence[Any]]:
    """A model and samples of what it was trained on; noise where it was not."""
    if name in TRAINED:
        from tests.models import model

        trained = model(name)
        artifact = artifact_of(trained / "model.pt2")
        with np.load(trained / "calibration.npz") as file:
            arrays = [file[spec.name] for spec in artifact.inputs]
        return artifact, [[a[i : i + 1] for a in arrays] for i in range(SAMPLES)]
    if name in DETECTORS:
        from convkit_vision.images import ImageSource

        path, calibration = _detector(name, folder)
        artifact = artifact_of(path)
        return artifact, list(ImageSource().read(calibration, artifact, {}, SAMPLES, 0))
    if name == "deit-tiny-untrained":
        from tests.matrix.models import deit_tiny

        artifact = artifact_of(deit_tiny(folder))
    else:
        path = folder / "untrained.pt2"
        artifact = _yolov8n(None, folder, path)
    return artifact, _noise(artifact, SAMPLES)


def _detector(name: str, folder: Path) -> tuple[Path, Path]:
    """A trained detector, and its calibration images."""
    if name == "digits-yolo":
        from tests.matrix.models import digits_yolo

        path = digits_yolo(folder)
        return path, path.parent / "calibration"
    from tests.models import model

    trained, path = model(name), folder / "trained.pt2"
    _yolov8n(trained / "yolov8n.pt", folder, path)
    return path, trained / "calibration"


def _yolov8n(checkpoint: Path | None, folder: Path, path: Path) -> Any:
    """At 160 pixels, from a checkpoint of our own training or with seeded weights."""
    import torch

    from tests.models.yolov8n import ultralytics_model

    torch.manual_seed(0)
    net = ultralytics_model(folder)  # and its settings: nothing is to be downloaded
    if checkpoint is not None:
        net = torch.load(checkpoint, weights_only=False)["ema"].float()
    net = net.eval().requires_grad_(False)
    net.model[-1].export, net.model[-1].format = True, "torchscript"
    shape = (1, 3, 160, 160)
    net(torch.zeros(shape))  # fills the cache of its anchors
    return saved(net, shape, path)


def _deep(depth: int) -> tuple[Any, tuple[int, ...]]:
    """A residual network of so many convolutions."""
    import torch
    from torch import nn

    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 16, 3, padding=1)
            self.blocks = nn.ModuleList(
                nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.SiLU())
                for _ in range(depth - 2)
            )
            self.head = nn.Linear(16, 10)

        def forward(self, x: Any) -> Any:
            x = self.stem(x)
            for block in self.blocks:
                x = x + block(x)
            return self.head(x.mean((2, 3)))

    torch.manual_seed(0)
    return Deep(), (1, 3, 48, 48)


def saved(module: Any, shape: tuple[int, ...], path: Path) -> Any:
    import torch

    torch.export.save(torch.export.export(module.eval(), (torch.rand(shape),)), path)
    return artifact_of(path)


def artifact_of(path: Path) -> Any:
    from convkit.plugin import Artifact, ReadOptions
    from convkit_torch.inspector import TorchInspector

    seen = TorchInspector().inspect(path, ReadOptions())
    return Artifact(path, seen.state, seen.inputs, seen.outputs, seen.digest)


def _noise(artifact: Any, count: int) -> Sequence[Any]:
    """Smooth random pictures: white noise is too even for ranges to mean anything."""
    rng = np.random.default_rng(0)
    return [
        [rng.random(spec.shape, "float32").cumsum(-1) / 16 % 1.0 for spec in artifact.inputs]
        for _ in range(count)
    ]
