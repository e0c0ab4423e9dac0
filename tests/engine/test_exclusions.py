"""Layers that the user names: matched, obeyed, composed with what is measured, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convkit
from convkit.api import Steering
from convkit.engine.exclusions import rules
from convkit.engine.session import Settings
from convkit.errors import NoPathError, NumericError, UsageError
from convkit.quant import LayerInfo
from tests.testing.toyplugin import model as toy

TOY = "tests.testing.toyplugin.plugin"

LAYERS = (
    LayerInfo("/model.2/conv/Conv", "Conv", scope="model.2.conv"),
    LayerInfo("/model.2/Add", "Add", scope="model.2"),
    LayerInfo("node_conv2d_9", "Conv", scope="model.22.cv2"),
    LayerInfo("node_cat_3", "Concat", scope="model.22"),
    LayerInfo("Softmax_17", "Softmax"),
)


def names(*patterns: str, operators: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    return [rule.layers for rule in rules(LAYERS, patterns, operators)]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("model.22.*", ("node_conv2d_9", "node_cat_3")),
        ("model.22", ("node_conv2d_9", "node_cat_3")),
        ("model.2", ("/model.2/conv/Conv", "/model.2/Add")),
        ("model.2.*", ("/model.2/conv/Conv", "/model.2/Add")),
        ("*.cv?", ("node_conv2d_9",)),
        ("model.2*", tuple(x.name for x in LAYERS[:4])),
        ("node_cat_3", ("node_cat_3",)),
        ("/model.2/*", ("/model.2/conv/Conv", "/model.2/Add")),
        ("Softmax_*", ("Softmax_17",)),
        (r"re:cv\d$", ("node_conv2d_9",)),
        ("re:^model", tuple(x.name for x in LAYERS[:4])),
    ],
)
def test_patterns(pattern: str, found: tuple[str, ...]) -> None:
    assert names(pattern) == [found]


def test_types_and_several_rules() -> None:
    assert names("auto", "model.22.cv2", operators=("softmax", "Conv")) == [
        ("node_conv2d_9",),
        ("Softmax_17",),
        ("/model.2/conv/Conv", "node_conv2d_9"),
    ]


@pytest.mark.parametrize(
    ("patterns", "operators", "hint"),
    [
        (("model.23.*",), (), "model.22"),
        (("node_conv2d_8",), (), "node_conv2d_9"),
        (("MODEL.22.*",), (), "inspect"),
        (("model.22", "modle.2.*"), (), "model.2"),
        ((), ("Sofmax",), "Softmax"),
        ((), ("Frobnicate",), "Concat"),
        (("re:(",), (), ""),
    ],
)
def test_what_matches_nothing_is_an_error(
    patterns: tuple[str, ...], operators: tuple[str, ...], hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        rules(LAYERS, patterns, operators)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("pattern", "parts"),
    [
        ("/model.2/Add/model.2/conv/Conv", ("/model.2/Add", "/model.2/conv/Conv")),
        ("model.22.cv2model.2", ("model.22.cv2", "model.2")),
        ("/model.2/Addnode_cat_3Softmax_17", ("/model.2/Add", "node_cat_3", "Softmax_17")),
    ],
)
def test_names_run_together(pattern: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="matches no layer") as caught:
        rules(LAYERS, (pattern,), ())
    many = {2: "two", 3: "three"}[len(parts)]
    assert caught.value.hint == (
        f"This is {many} names run together (a comma is missing): {', '.join(map(repr, parts))}."
    )


@pytest.mark.parametrize("pattern", ["/model.2/Add/model.3", "x/model.2/Add", "Softmax_17 "])
def test_what_is_no_row_of_names(pattern: str) -> None:
    with pytest.raises(UsageError) as caught:
        rules(LAYERS, (pattern,), ())
    assert "run together" not in caught.value.hint


@pytest.fixture
def detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONVKIT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "detector.toy"
    toy.write(toy.build({"boxes and scores": (4, 6), "y": (10, 0)}), path, "toy")
    return path


def convert(model: Path, to: Any, steering: Steering = Steering(), **settings: Any) -> Any:
    rng = np.random.default_rng(3)
    images = [rng.normal(size=(1, 8)).astype(np.float32) for _ in range(32)]
    return convkit.convert(
        model,
        to=to,
        output_dir=model.parent / "out",
        plugins=(TOY,),
        calibration=images,
        settings=Settings(**settings),
        steering=steering,
        overwrite=True,
    )


def test_the_users_recipe_is_obeyed(detector: Path) -> None:
    result = convert(detector, "brick-int8", exclude=("boxes and scores/*",))
    last = result.manifest.hops[-1]
    assert "boxes and scores/post" in last.recipe.float_layers
    assert not any(name.startswith("y/") for name in last.recipe.float_layers)
    assert last.recipe.rules[0].reason == "asked for by --exclude boxes and scores/*"
    assert len(last.attempts) == 1
    assert last.verification.verdict == "ok"


def test_a_recipe_that_does_not_do_is_obeyed_and_refused(detector: Path) -> None:
    with pytest.raises(NumericError):
        convert(detector, "brick-int8", exclude=("y/*",))


def test_auto_adds_what_is_measured(detector: Path) -> None:
    result = convert(detector, "brick-int8", exclude=("y/*", "auto"))
    kept = result.manifest.hops[-1].recipe.float_layers
    assert any(name.startswith("y/") for name in kept)
    assert "boxes and scores/post" in kept
    assert result.verification.verdict == "ok"


def test_contradictions_and_targets_without_quantizer(detector: Path) -> None:
    with pytest.raises(UsageError, match="contradict"):
        convert(detector, "brick-int8", exclude=("auto",), keep_float="none")
    with pytest.raises(UsageError, match="nothing is quantized"):
        convert(detector, "brick", exclude=("y/*",))
    with pytest.raises(UsageError, match="matches no layer"):
        convert(detector, "brick-int8", exclude=("z/*",))
    with pytest.raises(NoPathError) as caught:
        convert(detector, "brick-fp16", exclude=("y/*",))
    assert "--exclude" in caught.value.hint
    assert not (detector.parent / "out").exists()


def test_one_of_several_targets_may_be_float(detector: Path) -> None:
    result = convert(detector, ["brick", "brick-int8"], exclude=("boxes and scores/*",))
    assert [str(o.state) for o in result.outputs] == ["brick", "brick-int8"]


def test_the_quantize_command_wants_a_quantized_target(capsys: pytest.CaptureFixture[str]) -> None:
    from convkit.cli.app import run

    assert run(["quantize", "model.onnx", "--to", "onnx"]) == 2
    assert "onnx is not quantized" in capsys.readouterr().err
    assert run(["quantize", "absent.onnx", "--to", "onnx-int8", "--exclude", "a.*"]) == 2
    assert "absent.onnx" in capsys.readouterr().err
