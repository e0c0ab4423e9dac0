"""convkit-onnx keeps the contracts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("onnx")

from convkit.plugin import Converter, Inspector, Runner, State
from convkit.testing import (
    ConverterContract,
    FormatContract,
    InspectorContract,
    PluginContract,
    RunnerContract,
)
from convkit_onnx import plugin


class OneFile:
    """Two inputs, two outputs and shape arithmetic."""

    @pytest.fixture
    def source(self, saved: Callable[..., Path]) -> Path:
        return saved("cnn")


class WithExternalData:
    """The same model with its weights beside it."""

    @pytest.fixture
    def source(self, saved: Callable[..., Path]) -> Path:
        return saved("cnn", save_as_external_data=True, location="cnn.data", size_threshold=0)


class TestSimplify(OneFile, ConverterContract):
    @pytest.fixture
    def converter(self) -> Converter:
        (converter,) = plugin.convkit_converters()
        return converter

    @pytest.fixture
    def tolerance_db(self) -> float:
        return 100.0


class TestRunner(OneFile, RunnerContract):
    @pytest.fixture
    def runner(self) -> Runner:
        (runner,) = plugin.convkit_runners()
        return runner


class TestRunnerWithExternalData(WithExternalData, TestRunner):
    pass


class TestInspector(OneFile, InspectorContract):
    @pytest.fixture
    def inspector(self) -> Inspector:
        (inspector,) = plugin.convkit_inspectors()
        return inspector

    @pytest.fixture
    def state(self) -> State:
        return State("onnx")


class TestInspectorWithExternalData(WithExternalData, TestInspector):
    pass


class TestFormat(OneFile, FormatContract):
    format_id = "onnx"


class TestPlugin(PluginContract):
    plugin = "convkit_onnx.plugin"
