"""Files of TensorFlow, written once for the whole run."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # pytest imports test files by path

if find_spec("openvino") is not None:
    from convkit_openvino.runtime import without_telemetry

    without_telemetry()  # test files import OpenVINO themselves


@pytest.fixture(scope="session")
def tensorflow_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find_spec("tensorflow") is None:
        pytest.skip("TensorFlow is not installed")
    from openvino_models import TENSORFLOW

    folder = tmp_path_factory.mktemp("tensorflow")
    done = subprocess.run(
        [sys.executable, "-c", TENSORFLOW, str(folder)],
        env={**os.environ, "KERAS_HOME": str(folder / "keras"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder
