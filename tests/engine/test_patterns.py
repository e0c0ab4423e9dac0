"""Layers become few patterns that name them and nothing else."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from convkit.engine.exclusions import rules
from convkit.engine.patterns import Exclusion, Naming
from convkit.quant import LayerInfo

DETECTOR = (
    LayerInfo("node_conv2d", "Conv", scope="model.2.cv1.conv"),
    LayerInfo("node_Sigmoid_0", "Sigmoid", scope="model.2.cv1.act"),
    LayerInfo("node_silu", "Mul", scope="model.2.cv1.act"),
    LayerInfo("node_conv2d_1", "Conv", scope="model.2.cv2.conv"),
    LayerInfo("node_Sigmoid_1", "Sigmoid", scope="model.2.cv2.act"),
    LayerInfo("node_silu_1", "Mul", scope="model.2.cv2.act"),
    LayerInfo("node_add", "Add", scope="model.2"),
    LayerInfo("node_conv2d_2", "Conv", scope="model.22.cv2"),
    LayerInfo("node_softmax", "Softmax", scope="model.22.dfl"),
    LayerInfo("node_conv2d_3", "Conv", scope="model.22.dfl.conv"),
    LayerInfo("node_sub", "Sub", scope="model.22"),
    LayerInfo("node_cat_2", "Concat", scope="model.22"),
    LayerInfo("node_cat", "Concat"),
)

HEAD = ("node_conv2d_2", "node_softmax", "node_conv2d_3", "node_sub", "node_cat_2")


def named(layers: Iterable[LayerInfo], found: Exclusion) -> set[str]:
    everything = tuple(layers)
    matched = rules(everything, found.patterns, found.operators)
    return {name for rule in matched for name in rule.layers}


@pytest.mark.parametrize(
    ("keep", "patterns", "operators"),
    [
        ((), (), ()),
        (("node_cat",), ("node_cat",), ()),
        (("node_cat", "node_cat_2"), (), ("Concat",)),
        (("node_add",), (), ("Add",)),
        (("node_conv2d",), ("model.2.cv1.conv",), ()),
        (("node_silu",), ("node_silu",), ()),
        (HEAD, ("model.22",), ()),
        (HEAD[:3], ("model.22.cv2", "model.22.dfl"), ()),
        (("node_softmax", "node_conv2d_3"), ("model.22.dfl",), ()),
        (("node_cat_2", "node_sub"), (r"re:^model\.22$",), ()),
        (("node_conv2d", "node_conv2d_1"), ("model.2.*.conv",), ()),
        (("node_silu", "node_silu_1"), (), ("Mul",)),
        (("node_Sigmoid_0", "node_silu", "node_Sigmoid_1", "node_silu_1"), ("*.act",), ()),
        (tuple(x.name for x in DETECTOR), ("model",), ("Concat",)),
        (("gone", "node_add"), ("gone",), ("Add",)),
    ],
)
def test_short_and_readable(
    keep: tuple[str, ...], patterns: tuple[str, ...], operators: tuple[str, ...]
) -> None:
    assert Naming(DETECTOR).of(keep) == Exclusion(patterns, operators)


def test_the_layers_own_name_may_hold_signs_of_patterns() -> None:
    layers = (
        LayerInfo("layers[0]", "Gemm"),
        LayerInfo("layers0", "Gemm"),
        LayerInfo("re:lu", "Relu"),
        LayerInfo("relu", "Relu"),
        LayerInfo("auto", "Add"),
        LayerInfo("a?", "Add", scope="block*"),
        LayerInfo("ab", "Add", scope="blocks"),
    )
    for keep in ("layers[0]", "re:lu", "auto", "a?"):
        found = Naming(layers).of((keep,))
        assert "auto" not in found.patterns
        assert named(layers, found) == {keep}


def test_a_name_that_begins_another_name_is_told_apart() -> None:
    layers = (LayerInfo("fc", "Gemm"), LayerInfo("fc.relu", "Gemm"), LayerInfo("x", "Gemm"))
    assert named(layers, Naming(layers).of(("fc",))) == {"fc"}
    assert named(layers, Naming(layers).of(("fc.relu",))) == {"fc.relu"}
    assert named(layers, Naming(layers).of(("fc", "fc.relu"))) == {"fc", "fc.relu"}


def test_slashes_are_folders_too() -> None:
    layers = tuple(
        LayerInfo(f"/model.{block}/{part}/Conv", "Conv") for block in "12" for part in "abc"
    )
    keep = tuple(layer.name for layer in layers[:3])
    assert Naming(layers).of(keep) == Exclusion(("/model.1/*",))


@pytest.mark.parametrize("seed", range(12))
def test_exact_for_any_set_of_any_tree(seed: int) -> None:
    chance = random.Random(seed)
    parts = ("a", "b", "conv", "1", "12", "act")
    layers = tuple(
        LayerInfo(
            f"{chance.choice(('node', '/m/x', 'm.a'))}_{place}",
            chance.choice(("Conv", "CONV", "Mul", "Sigmoid")),
            scope=".".join(chance.choices(parts, k=chance.randrange(5))),
        )
        for place in range(60)
    )
    naming = Naming(layers)
    for share in (0.05, 0.3, 0.9, 1.0):
        keep = {x.name for x in layers if chance.random() < share}
        found = naming.of(keep)
        assert named(layers, found) == keep
        assert len(found.patterns) + len(found.operators) <= len(keep)
