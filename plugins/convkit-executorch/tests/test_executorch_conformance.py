"""convkit-executorch keeps the contracts. Lowering takes tens of seconds: what converts is slow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("executorch")

import executorch_models as models

from convkit.plugin import Converter, Inspector, Runner, State
from convkit.testing import ConverterContract, FormatContract, InspectorContract, RunnerContract
from convkit_executorch import plugin

CONVERTERS = {c.name: c for c in plugin.convkit_converters()}


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The model as torch.export writes it, with fixed axes and with an open batch."""
    folder = tmp_path_factory.mktemp
    return {
        "fixed": models.write(folder("fixed"), "two-ends"),
        "open": models.write(folder("open"), "two-ends", largest=64),
    }


@pytest.mark.slow
class TestFloat(ConverterContract):
    kind = "fixed"

    @pytest.fixture
    def converter(self) -> Converter:
        return CONVERTERS["executorch.xnnpack"]

    @pytest.fixture
    def source(self, programs: dict[str, Path]) -> Path:
        return programs[self.kind]

    @pytest.fixture
    def tolerance_db(self) -> float | None:
        return 100.0


@pytest.mark.slow
class TestFloatWithOpenBatch(TestFloat):
    kind = "open"

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"largest": 4}


@pytest.mark.slow
class TestInt8(TestFloat):
    @pytest.fixture
    def converter(self) -> Converter:
        return CONVERTERS["executorch.xnnpack-int8"]

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"per_channel": False}

    @pytest.fixture
    def tolerance_db(self) -> float | None:
        return None


@pytest.mark.slow
class TestInt8WithOpenBatch(TestInt8):
    kind = "open"


class TestRun(RunnerContract):
    kind = "fp32"

    @pytest.fixture
    def runner(self) -> Runner:
        (runner,) = plugin.convkit_runners()
        return runner

    @pytest.fixture
    def source(self) -> Path:
        return models.FILES[self.kind]


class TestRunInt8(TestRun):
    kind = "int8"


class TestRunOpenBatch(TestRun):
    kind = "open"


class TestRunForeign(TestRun):
    kind = "portable"


class TestInspect(InspectorContract):
    kind = "fp32"

    @pytest.fixture
    def inspector(self) -> Inspector:
        (inspector,) = plugin.convkit_inspectors()
        return inspector

    @pytest.fixture
    def source(self) -> Path:
        return models.FILES[self.kind]

    @pytest.fixture
    def state(self) -> State:
        return State("executorch", "int8" if self.kind == "int8" else "fp32")


class TestInspectInt8(TestInspect):
    kind = "int8"


class TestInspectOpenBatch(TestInspect):
    kind = "open"


class TestInspectForeign(TestInspect):
    kind = "portable"


class TestFormat(FormatContract):
    format_id = "executorch"

    @pytest.fixture
    def source(self) -> Path:
        return models.FILES["portable"]


def test_every_converter_is_here() -> None:
    """A converter that is added without its suite fails here."""
    assert set(CONVERTERS) == {"executorch.xnnpack", "executorch.xnnpack-int8"}
