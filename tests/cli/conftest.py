"""Tiny model files that the command line is tried on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import convkit


@dataclass(frozen=True)
class Models:
    """A tiny network (`image`, 1x3x16x16 float32) in three formats, and data that fits it."""

    torch: Path
    onnx: Path
    tflite: Path
    arrays: Path


@pytest.fixture(scope="session")
def models(kit: convkit.Kit, tmp_path_factory: pytest.TempPathFactory) -> Models:
    """Read only. The tflite file is 300 kB or more, so that a small disk cannot take it."""
    torch = pytest.importorskip("torch")
    import numpy as np

    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(5)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, stride=2),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(8 * 7 * 7, 200),
    ).eval()
    image = torch.zeros(1, 3, 16, 16)
    torch.export.save(torch.export.export(network, (image,)), folder / "tiny.pt2")
    targets = ("onnx", "tflite")
    result = convkit.convert(folder / "tiny.pt2", to=targets, output_dir=folder, kit=kit)
    arrays = folder / "calibration.npy"
    np.save(arrays, np.random.default_rng(2).standard_normal((12, 3, 16, 16)).astype("float32"))
    onnx, tflite = (o.path for o in result.outputs)
    return Models(folder / "tiny.pt2", onnx, tflite, arrays)


@pytest.fixture
def fresh_model(tmp_path: Path) -> Path:
    """A model that no store knows yet, so that converting it takes some seconds."""
    torch = pytest.importorskip("torch")

    torch.manual_seed(int.from_bytes(os.urandom(4), "little"))
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()).eval()
    path = tmp_path / "fresh.pt2"
    program = torch.export.export(network, (torch.zeros(1, 3, 16, 16),))
    torch.export.save(program, path)
    return path


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts small disks: `disk("size=64k")` gives an empty folder. Takes root on Linux."""
    import subprocess

    mounted: list[Path] = []

    def mount(options: str) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("a disk of a chosen size takes the right to mount")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def images(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder of images with a `calibration.toml` that fits the tiny network."""

    def make(count: int, toml: str | None = None, **extra: bytes) -> Path:
        pillow: Any = pytest.importorskip("PIL.Image")
        folder = tmp_path / "images"
        folder.mkdir()
        for number in range(count):
            pillow.new("RGB", (20, 20), (number * 9 % 256, 40, 90)).save(folder / f"{number}.png")
        for name, content in extra.items():
            (folder / name.replace("_", ".")).write_bytes(content)
        if toml is not None:
            (folder / "calibration.toml").write_text(toml)
        return folder

    return make
