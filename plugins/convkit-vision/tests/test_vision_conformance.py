"""convkit-vision keeps the contracts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from vision_data import model, write_image

from convkit.plugin import Artifact, CalibrationSource
from convkit.testing import CalibrationSourceContract, PluginContract
from convkit_vision import plugin


class TestImages(CalibrationSourceContract):
    """A folder with subfolders and pictures of several sizes."""

    @pytest.fixture
    def calibration_source(self) -> CalibrationSource:
        (source,) = plugin.convkit_calibration_sources()
        return source

    @pytest.fixture
    def data(self, tmp_path: Path) -> Path:
        folder = tmp_path / "images"
        random = np.random.default_rng(0)
        for number in range(5):
            pixels = random.integers(0, 256, (8 + number, 12, 3))
            write_image(folder / f"class-{number % 2}" / f"{number}.png", pixels)
        (folder / "calibration.toml").write_text("[transform]\nresize = [8, 8]\nrange = [0, 1]\n")
        return folder

    @pytest.fixture
    def artifact(self) -> Artifact:
        return model(1, 3, 8, 8)


class TestImagesByFlags(TestImages):
    """Nothing is declared beside the pictures, and the model wants channels last in integers."""

    @pytest.fixture
    def data(self, tmp_path: Path) -> Path:
        random = np.random.default_rng(0)
        for number in range(4):
            write_image(tmp_path / "flat" / f"{number}.png", random.integers(0, 256, (6, 6, 3)))
        return tmp_path / "flat"

    @pytest.fixture
    def artifact(self) -> Artifact:
        return model(1, 6, 6, 3, dtype="uint8", layout="NHWC")

    @pytest.fixture
    def overrides(self) -> dict[str, str]:
        return {"range": "0,255", "layout": "NHWC"}


class TestPlugin(PluginContract):
    plugin = "convkit_vision.plugin"
