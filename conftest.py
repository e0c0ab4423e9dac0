"""Fixtures of all tests, the plugins' among them; it lies here because both folders need it.

Results start from an empty store in every session, so that no test passes on an old result.
Isolated environments take minutes to build, so they are kept: under `CONVKIT_CACHE` where that is
set (CI does), else under `build/test-envs/`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from convkit.kit import Kit

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before any test module imports ONNX Runtime

ENVIRONMENTS = Path(__file__).parent / "build" / "test-envs"

OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "YOLO_OFFLINE": "True",
    "YOLO_AUTOINSTALL": "False",
}
"""No framework may download anything while tests run."""

PRIVATE = (
    "HF_HOME",
    "KERAS_HOME",
    "MPLCONFIGDIR",
    "TORCH_EXTENSIONS_DIR",
    "TORCH_HOME",
    "YOLO_CONFIG_DIR",
)
"""Folders that frameworks keep in the user's home. HOME itself stays, because pip's and uv's own
settings, which an isolated environment is built with, live there."""


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of built environments, shared by every session on this clone."""
    given = os.environ.get("CONVKIT_CACHE")
    folder = Path(given).resolve() / "envs" if given else ENVIRONMENTS
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session", autouse=True)
def cache(environments: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The session's `CONVKIT_CACHE`: what is set already, else a folder that starts empty."""
    home = tmp_path_factory.mktemp("home")
    given = os.environ.get("CONVKIT_CACHE")
    folder = Path(given).resolve() if given else _cache_with(environments, home / "cache")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in OFFLINE.items():
            patch.setenv(name, value)
        for name in PRIVATE:
            patch.setenv(name, str(home / name.lower()))
        patch.setenv("CONVKIT_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def kit(cache: Path) -> Iterator[Kit]:
    """The installed plugins, with workers that are kept: loading frameworks takes longer than
    converting small models. Not for tests of what a process does that has only just started."""
    from convkit.kit import Kit

    with Kit() as kit:
        yield kit


@pytest.fixture
def empty_cache(environments: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `CONVKIT_CACHE` of this test's own: an empty store, but the environments are there."""
    folder = _cache_with(environments, tmp_path / "convkit-cache")
    monkeypatch.setenv("CONVKIT_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def onnx_tf_python(environments: Path) -> Path:
    """The interpreter of the isolated environment of onnx-tf, built on first use."""
    from convkit.engine.environments import EnvironmentBuilder
    from convkit_onnx_tf.converter import environment

    spec = environment()
    builder = EnvironmentBuilder(environments)
    fault = builder.fault(spec)
    if fault:
        pytest.skip(f"onnx-tf {fault}")
    return builder.ensure(spec, print)


@pytest.fixture(scope="session")
def sample() -> Path:
    """The folder of the bundled sample `digits-yolo`; read only."""
    import convkit_samples

    return Path(str(convkit_samples.__file__)).parent / "data" / "digits-yolo"


def _cache_with(environments: Path, folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "envs").symlink_to(environments, target_is_directory=True)
    return folder
