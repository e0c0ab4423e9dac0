"""convkit-onnx keeps the contracts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("onnx")

from convkit.plans import OptionValue
from convkit.plugin import Converter, Inspector, ReadOptions, Runner, State
from convkit.testing import (
    ConverterContract,
    FormatContract,
    InspectorContract,
    PluginContract,
    RunnerContract,
)
from convkit_onnx import plugin


def edge(name: str) -> Converter:
    return next(c for c in plugin.convkit_converters() if c.name == name)


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
        return edge("onnxslim.simplify")

    @pytest.fixture
    def tolerance_db(self) -> float:
        return 100.0


class TestSimplifyByOnnxsim(TestSimplify):
    @pytest.fixture
    def converter(self) -> Converter:
        pytest.importorskip("onnxsim")
        return edge("onnxsim.simplify")


class TestHalf(OneFile, ConverterContract):
    @pytest.fixture
    def converter(self) -> Converter:
        return edge("onnxruntime.fp16")

    @pytest.fixture
    def options(self) -> dict[str, OptionValue]:
        return {"keep_float": "Gemm"}


class Quantizable:
    """Images, a side input and two outputs."""

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        import onnx
        import onnx_quantizable

        path = tmp_path / "source" / "residual.onnx"
        path.parent.mkdir()
        onnx.save(onnx_quantizable.residual(), path)
        return path

    @pytest.fixture
    def tolerance_db(self) -> float:
        return 15.0


class TestStaticInt8(Quantizable, ConverterContract):
    @pytest.fixture
    def converter(self) -> Converter:
        return edge("onnxruntime.int8")

    @pytest.fixture
    def options(self) -> dict[str, OptionValue]:
        return {"symmetric": True, "reduce_range": "on"}


class TestDynamicInt8(Quantizable, ConverterContract):
    @pytest.fixture
    def converter(self) -> Converter:
        return edge("onnxruntime.int8-dynamic")


class TestFixShapes(ConverterContract):
    @pytest.fixture
    def converter(self) -> Converter:
        return edge("onnx.fix-shapes")

    @pytest.fixture
    def source(self, saved: Callable[..., Path]) -> Path:
        return saved("cnn_dynamic")

    @pytest.fixture
    def read(self) -> ReadOptions:
        return ReadOptions(shapes={"image": (1, 3, 8, 8)})

    @pytest.fixture
    def tolerance_db(self) -> float:
        return 100.0


class TestFixShapesWithExternalData(TestFixShapes):
    @pytest.fixture
    def source(self, saved: Callable[..., Path]) -> Path:
        return saved("cnn_dynamic", save_as_external_data=True, location="x.data", size_threshold=0)


class TestRunner(OneFile, RunnerContract):
    @pytest.fixture
    def runner(self) -> Runner:
        runner, _ = plugin.convkit_runners()
        return runner


class TestRunnerWithExternalData(WithExternalData, TestRunner):
    pass


class TestReferenceRunner(OneFile, RunnerContract):
    @pytest.fixture
    def runner(self) -> Runner:
        _, runner = plugin.convkit_runners()
        return runner


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
