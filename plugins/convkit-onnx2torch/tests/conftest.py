"""Artifacts and contexts as the engine would give them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

from convkit.plugin import Artifact, HopContext, ReadOptions


@pytest.fixture
def artifact() -> Callable[..., Artifact]:
    """Inspects a file, as the engine does before the first hop."""
    from convkit_onnx.inspector import OnnxInspector

    def make(path: Path, read: ReadOptions | None = None) -> Artifact:
        read = read or ReadOptions()
        seen = OnnxInspector().inspect(path, read)
        return Artifact(
            path, seen.state, seen.inputs, seen.outputs, seen.digest, traits=seen.traits, read=read
        )

    return make


@pytest.fixture
def context(tmp_path: Path) -> HopContext:
    work = tmp_path / "work"
    work.mkdir()
    return HopContext(work, lambda phase, fraction: None)
