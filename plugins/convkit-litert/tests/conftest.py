"""Converted models, made once for the whole run."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))  # pytest imports test files by path

import litert_models as models
from litert_models import Converted


def _convert(
    folder: Path, module: nn.Module, draw: object, samples: int = 8, **kwargs: object
) -> Converted:
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    data = [draw(generator) for _ in range(samples + 1)]  # type: ignore[operator]
    inputs = tuple(map(torch.from_numpy, data[0]))
    source = models.export(module, inputs, folder / "model.pt2", **kwargs)
    tflite = models.to_tflite(source, folder / "model.tflite")
    return Converted(
        module, source, tflite, models.calibration(folder / "cal.safetensors", data[1:]), data[0]
    )


@pytest.fixture(scope="session")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    torch.manual_seed(1)
    return _convert(
        tmp_path_factory.mktemp("detector"),
        models.Detector(),
        lambda g: [g.random((1, 3, 32, 32), dtype=np.float32)],
    )


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    torch.manual_seed(1)
    return _convert(
        tmp_path_factory.mktemp("encoder"),
        models.Encoder(),
        lambda g: [g.integers(0, 50, (1, 8)), np.array([[True] * 6 + [False] * 2])],
    )


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    return _convert(
        tmp_path_factory.mktemp("many"),
        models.Many(),
        lambda g: [g.random((1, 4), dtype=np.float32) for _ in range(12)],
    )


@pytest.fixture(scope="session")
def recurrent(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    torch.manual_seed(1)
    return _convert(
        tmp_path_factory.mktemp("recurrent"),
        models.Recurrent(),
        lambda g: [g.standard_normal((1, 5, 4), dtype=np.float32)],
    )


@pytest.fixture(scope="session")
def mlp(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    """Exported with a symbolic batch, from an example of two."""
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
    folder = tmp_path_factory.mktemp("mlp")
    batch = torch.export.Dim("batch", min=1, max=8)
    source = models.export(
        module, (torch.randn(2, 6),), folder / "model.pt2", dynamic_shapes=({0: batch},)
    )
    tflite = models.to_tflite(source, folder / "model.tflite")
    generator = np.random.default_rng(0)
    data = [[generator.standard_normal((1, 6), dtype=np.float32)] for _ in range(9)]
    return Converted(
        module, source, tflite, models.calibration(folder / "cal.safetensors", data[1:]), data[0]
    )
