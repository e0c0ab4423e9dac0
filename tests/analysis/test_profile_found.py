"""Profiles of models in a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from convkit.analysis.delegates import delegate_map, rules_for
from convkit.analysis.profile import _integer_macs, profile_found, profilers
from convkit.artifact import Artifact, ReadOptions, State
from convkit.delegates import ExecutedLayer, ExecutionProfile
from convkit.engine.session import Found
from convkit.engine.sources import load
from convkit.errors import UsageError
from convkit.inspection import Inspection
from convkit.kit import Kit
from convkit.quant import LayerInfo


def found_of(layers: tuple[LayerInfo, ...]) -> Found:
    inspection = Inspection(State("toy"), (), (), layers=layers)
    return Found(Artifact(Path("m.toy"), State("toy"), (), ()), inspection)


def profile_of(*kernels: ExecutedLayer) -> ExecutionProfile:
    return ExecutionProfile("m", "toy.run", kernels, 1)


@pytest.mark.parametrize(
    ("kernels", "share"),
    [
        ((("int8", ("a",)), ("float32", ("b", "c"))), 0.6),
        ((("uint8", ("a", "b")), ("float32", ("c",))), 0.9),
        ((("int64", ("a", "b", "c")),), 0.0),
        ((("int8", ("a",)),), 1.0),  # of what is known, which is most
        ((("int8", ("b",)),), None),  # too little is known
        ((("", ("a", "b", "c")),), None),  # the runtime does not say
        ((("int8", ("a",)), ("float32", ("a", "b", "c"))), 0.6),  # no layer counts twice
    ],
)
def test_share_of_arithmetic_in_integers(
    kernels: tuple[tuple[str, tuple[str, ...]], ...], share: float | None
) -> None:
    model = found_of(
        (
            LayerInfo("a", "CONV", macs=60),
            LayerInfo("b", "CONV", macs=30),
            LayerInfo("c", "FC", macs=10),
        )
    )
    made = [ExecutedLayer("k", "K", compute, 0.1, layers=names) for compute, names in kernels]
    got = _integer_macs(profile_of(*made), model)
    assert got == (None if share is None else pytest.approx(share))


def test_a_model_without_arithmetic() -> None:
    kernel = ExecutedLayer("k", "K", "float32", 0.1, layers=("a",))
    assert _integer_macs(profile_of(kernel), found_of((LayerInfo("a", "ADD"),))) is None


def test_sums() -> None:
    found = profile_of(
        ExecutedLayer("a", "A", "uint8", 0.2),
        ExecutedLayer("b", "B", "float32", 0.3),
        ExecutedLayer("c", "C", "int64", 0.1),  # indices
    )
    assert found.seconds == pytest.approx(0.6)
    assert found.integer_seconds == pytest.approx(0.2)


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny ONNX model."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="dense")],
        "g",
        [helper.make_tensor_value_info("x", kind, (1, 4))],
        [helper.make_tensor_value_info("y", kind, (1, 4))],
        [helper.make_tensor("w", kind, (4, 4), [0.5] * 16)],
    )
    path = tmp_path_factory.mktemp("model") / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]), path)
    return path


def test_in_a_session(quantized: Path, tmp_path: Path) -> None:
    """What `compare` does: several looks at one model in an open session."""
    kit = Kit(cache=tmp_path)
    with kit.session() as session:
        found = load(session, quantized, "onnx", ReadOptions())
        assert [r.name for r in profilers(session, "onnx")] == ["onnxruntime.run"]
        told = profile_found(session, "mine", found, runs=3)
        assert (told.model, told.runs, told.integer_macs) == ("mine", 3, 0.0)
        with pytest.raises(UsageError, match="no installed plugin has rules"):
            rules_for(session, "onnx")
        with pytest.raises(UsageError, match="no installed runtime shows"):
            elsewhere = Artifact(quantized, State("torch"), (), ())
            profile_found(session, "mine", Found(elsewhere, found.inspection))


def test_rules_for_another_format_need_operations(quantized: Path, tmp_path: Path) -> None:
    kit = Kit(cache=tmp_path)
    with kit.session() as session:
        found = load(session, quantized, "onnx", ReadOptions())
        rules = next(iter(session.registry.delegate_rules.values()), None)
        if rules is None:
            pytest.skip("no plugin with rules is installed")
        with pytest.raises(UsageError, match="cannot tell what the rules"):
            delegate_map(session, "mine", found, rules)
