"""The isolated environment, for all tests of this plugin."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def onnx2tf_python(environments: Path) -> Path:
    """The interpreter of the isolated environment of onnx2tf, built on first use."""
    from convkit.engine.environments import EnvironmentBuilder
    from convkit_onnx2tf.converter import environment

    spec = environment()
    builder = EnvironmentBuilder(environments)
    fault = builder.fault(spec)
    if fault:
        pytest.skip(f"onnx2tf {fault}")
    return builder.ensure(spec, print)
