"""The plugin of `docs/how-to/write-a-plugin.md` is real: its blocks are put together and used.

A block with a title is (a part of) that file; the others are run by themselves.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from convkit.nodes import operator_kind
from convkit.plugin import (
    Artifact,
    ConverterBase,
    HopContext,
    LayerInfo,
    RankSettings,
    ReferenceMetric,
    State,
    TracedTensor,
)
from convkit.plugin.manager import PluginManager
from convkit.plugin.registry import Registry
from convkit.testing import DelegateRulesContract, PluginContract

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "write-a-plugin.md"
BLOCK = re.compile(r'^```(python|toml)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
BLOCKS = [match.groups() for match in BLOCK.finditer(PAGE.read_text("utf-8"))]
PACKAGE = "convkit_acme"


class Linear:
    """Stands for Acme's simulator: y = x A B, with every tensor in sight."""

    def __init__(self) -> None:
        rng = np.random.default_rng(3)
        self.weights = [rng.normal(size=(6, 5)), rng.normal(size=(5, 4))]

    def run(self, sample: Any) -> list[Any]:
        return [sample[0] @ self.weights[0] @ self.weights[1]]

    def record(self, sample: Any) -> Tape:
        return Tape(self.weights, sample[0])


class Tape:
    """One run of it."""

    def __init__(self, weights: list[Any], x: Any) -> None:
        self._weights = weights
        values = [x, x @ weights[0], x @ weights[0] @ weights[1]]
        self.tensors = [
            SimpleNamespace(
                layer=f"l{n}", op_type="MatMul" if n else "input", module="", name=f"t{n}",
                value=value, weighted=n > 0,
            )
            for n, value in enumerate(values)
        ]  # fmt: skip

    def backward(self, directions: Any) -> list[Any]:
        (g,) = directions
        return [g @ self._weights[1].T @ self._weights[0].T, g @ self._weights[1].T, g]

    def weight_errors(self, bits: int, per_channel: bool) -> list[Any]:
        errors = [np.zeros_like(self.tensors[0].value)]
        for tensor, weight in zip(self.tensors, self._weights, strict=False):
            step = np.abs(weight).max(axis=0 if per_channel else None) / (2 ** (bits - 1) - 1)
            errors.append(tensor.value @ (np.round(weight / step) * step - weight))
        return errors


class Acme(ModuleType):
    """Stands for the compiler."""

    CompileError = RuntimeError

    @staticmethod
    def compile(source: str, output: str, cores: int) -> None:
        Path(output).write_text(f"{Path(source).read_text()} on {cores}")

    @staticmethod
    def load(path: str, threads: int) -> Linear:
        return Linear()


@pytest.fixture(scope="module", autouse=True)
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The page's files, importable."""
    folder = tmp_path_factory.mktemp("page") / PACKAGE
    folder.mkdir()
    (folder / "__init__.py").touch()
    for _, title, text in BLOCKS:
        if title:
            assert Path(title).parent.name == PACKAGE
            with (folder / Path(title).name).open("a") as file:
                file.write(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder.parent))
        patch.setitem(sys.modules, "acme", Acme("acme"))
        yield folder
    for name in [n for n in sys.modules if n.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


@pytest.fixture
def registry() -> Registry:
    manager = PluginManager.discover([f"{PACKAGE}.plugin"])
    return Registry(manager)


def test_everything_is_offered(registry: Registry) -> None:
    assert not registry.broken
    kinds = {
        "formats": {"acme"},
        "converters": {"acme.compile"},
        "exclusion_rules": {"gates"},
        "rankers": {"acme.gradients"},
        "delegate_rules": {"acme-npu"},
        "metrics": {"acme-deviation"},
    }
    for kind, names in kinds.items():
        owned = {
            name
            for name in getattr(registry, kind)
            if registry.owner(kind, name).target == f"{PACKAGE}.plugin"
        }
        assert owned == names, kind


def test_the_converter_converts(registry: Registry, tmp_path: Path) -> None:
    source, output = tmp_path / "model.onnx", tmp_path / "model.acme"
    source.write_text("model")
    context = HopContext(tmp_path, lambda phase, fraction: None)
    edge = registry.converter("acme.compile")
    made = edge.convert(Artifact(source, State("onnx")), output, {"cores": 2}, context)
    assert (made.path, made.state) == (output, State("acme"))
    assert output.read_text() == "model on 2"


def test_the_rule_finds_gates_and_leaves_activations_alone(registry: Registry) -> None:
    layers = (
        LayerInfo("conv", "Conv", ("image",), ("x",), macs=100, parameter_count=9),
        LayerInfo("silu", "Sigmoid", ("x",), ("s",)),
        LayerInfo("silu-mul", "Mul", ("x", "s"), ("y",)),
        LayerInfo("pool", "GlobalAveragePool", ("y",), ("p",)),
        LayerInfo("gate", "LOGISTIC", ("p",), ("g",)),
        LayerInfo("scale", "Mul", ("y", "g"), ("z",)),
    )
    assert registry.exclusion_rules["gates"].find(layers, operator_kind) == ["gate", "scale"]


def test_the_ranker_estimates_the_error_of_any_set(registry: Registry, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    samples = [[rng.normal(size=(1, 6))] for _ in range(4)]
    shown: list[TracedTensor] = []
    artifact = Artifact(tmp_path / "model.acme", State("acme"))
    found = registry.rankers["acme.gradients"].rank(
        artifact, samples, RankSettings(activation_bits=4, probes=2000), lambda values: [()],
        shown.append, lambda phase, fraction: None,
    )  # fmt: skip
    assert [t.tensor for t in shown] == ["t0", "t1", "t2"]
    assert found.activations.shape == found.weights.shape == (len(samples) * 2000, 3)
    assert found.weighted.tolist() == [False, True, True] and not found.weights[:, 0].any()
    assert found.float_passes > 0

    model = Linear()
    first, second = model.weights
    tapes = [model.record(sample) for sample in samples]
    steps = [max(np.abs(t.tensors[n].value).max() for t in tapes) / 7 for n in range(3)]

    def rounded(value: Any, n: int) -> Any:
        return np.round(value / steps[n]) * steps[n] - value

    wrong = [
        (rounded(t.tensors[0].value, 0) @ first + rounded(t.tensors[1].value, 1)) @ second
        for t in tapes
    ]
    right = [t.tensors[2].value for t in tapes]
    truth = np.mean(np.square(wrong)) / np.mean(np.square(right))
    estimate = np.mean(np.square(found.activations[:, :2].sum(axis=1)))
    assert estimate == pytest.approx(truth, rel=0.05)


def test_the_metric_needs_a_reference_and_no_labels(registry: Registry, tmp_path: Path) -> None:
    metric = registry.metrics["acme-deviation"]
    assert isinstance(metric, ReferenceMetric)
    ours, theirs = [[np.zeros(3)], [np.ones(3)]], [[np.zeros(3)], [np.full(3, 1.5)]]
    assert metric.score_against(tmp_path, ours, theirs, None).value == -0.5
    assert metric.score_against(tmp_path, ours, ours, None).value == 0.0


def test_other_blocks_are_sound() -> None:
    edges = []
    for kind, title, text in BLOCKS:
        if kind == "python" and not title:
            names: dict[str, Any] = {"__name__": "page"}
            exec(compile(text, str(PAGE), "exec"), names)
            edges += [n for n in names.values() if isinstance(n, type)]
    made = {e.name: e() for e in edges if issubclass(e, ConverterBase) and e.name}
    assert made["acme.widen"].widens
    assert made["acme.int8"].options[0].repairs == ("mean",)


def test_every_protocol_of_the_table_exists_and_has_its_method() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*?\| `(\w+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert len(rows) >= 8
    for protocol, method in rows:
        assert hasattr(getattr(importlib.import_module("convkit.plugin"), protocol), method)


class TestRules(DelegateRulesContract):
    @pytest.fixture
    def file(self, package: Path) -> Path:
        return package / "npu.toml"


class TestPlugin(PluginContract):
    plugin = f"{PACKAGE}.plugin"
