"""Priors find structures in any format, whatever layers are called."""

from __future__ import annotations

from pathlib import Path

import pytest

import convkit
import convkit_samples
from convkit.nodes import operator_kind
from convkit.priors import RULES
from convkit.quant import LayerInfo

DETECTOR = Path(convkit_samples.__file__).parent / "data" / "digits-yolo" / "model.pt2"


def found(name: str, layers: tuple[LayerInfo, ...]) -> list[str]:
    rule = next(rule for rule in RULES if rule.name == name)
    return list(rule.find(layers, operator_kind))


def test_a_normalization_taken_apart_is_found_whole() -> None:
    names = ("MEAN", "SQUARED_DIFFERENCE", "MEAN", "ADD", "RSQRT", "SUB", "MUL", "MUL", "ADD")
    reads = (("x",), ("x", "0"), ("1",), ("2",), ("3",), ("x", "0"), ("5", "4"), ("6",), ("7",))
    norm = [
        LayerInfo(f"n{i}", op, inputs, (str(i),))
        for i, (op, inputs) in enumerate(zip(names, reads, strict=True))
    ]
    before = LayerInfo("before", "FULLY_CONNECTED", ("in",), ("x",), 100, 10)
    behind = LayerInfo("behind", "FULLY_CONNECTED", ("8",), ("out",), 100, 10)
    names_found = found("normalizations", (before, *norm, behind))
    assert {"n1", "n2", "n3", "n4", "n6", "n7", "n8"} <= set(names_found)
    assert not {"before", "behind"} & set(names_found)


@pytest.mark.parametrize(
    ("rule", "op_type"),
    [
        ("softmax", "SOFTMAX"),
        ("softmax", "aten.softmax.int"),
        ("concatenations", "Concat"),
        ("concatenations", "aten.cat.default"),
        ("normalizations", "LayerNormalization"),
        ("normalizations", "MVN"),
    ],
)
def test_every_format_has_its_own_names(rule: str, op_type: str) -> None:
    layers = (LayerInfo("a", op_type, ("x",), ("y",)), LayerInfo("b", "Relu", ("y",), ("z",)))
    assert found(rule, layers) == ["a"]


def test_only_tables_of_parameters_are_embeddings() -> None:
    layers = (
        LayerInfo("table", "Gather", ("ids",), ("x",), parameter_count=1000),
        LayerInfo("pick", "Gather", ("x", "i"), ("y",)),
        LayerInfo("torch", "aten.embedding.default", ("ids",), ("z",), parameter_count=9),
    )
    assert found("embeddings", layers) == ["table", "torch"]


def test_the_head_of_a_detector_is_found_in_every_format(kit: convkit.Kit, tmp_path: Path) -> None:
    vision = pytest.importorskip("convkit_vision.priors")
    rule = vision.DetectionHead()
    result = convkit.convert(DETECTOR, to=("onnx", "tflite"), output_dir=tmp_path, kit=kit)
    for output in result.outputs:
        layers = convkit.inspect(output.path, kit=kit).layers
        names = set(rule.find(layers, operator_kind))
        heads = {x.scope.partition(".")[0] for x in layers if x.name in names and x.macs}
        assert heads - {"", "decode"} == {"head8", "head16"}, output.state
        scoped = {x.name for x in layers if x.scope.startswith("head") and x.macs}
        assert scoped <= names


def test_a_classifier_has_no_detection_head() -> None:
    vision = pytest.importorskip("convkit_vision.priors")
    layers = (
        LayerInfo("c0", "Conv", ("image",), ("a",), 100, 9),
        LayerInfo("c1", "Conv", ("a",), ("b",), 100, 9),
        LayerInfo("pool", "GlobalAveragePool", ("b",), ("p",)),
        LayerInfo("fc", "Gemm", ("p",), ("scores",), 10, 10),
        LayerInfo("softmax", "Softmax", ("scores",), ("out",)),
    )
    assert list(vision.DetectionHead().find(layers, operator_kind)) == []
