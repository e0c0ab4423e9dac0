"""`convkit delegates` and `convkit profile`: what they say, and how they fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import run
from tests.cli.conftest import Models

DELEGATES = {"edgetpu", "edgetpu-15", "gpu", "nnapi", "xnnpack"}


def test_delegates_in_json(models: Models, tmp_path: Path) -> None:
    answer = run("delegates", models.tflite, "--json", cwd=tmp_path)
    assert answer.code == 0, answer.err
    maps = answer.document["delegates"]
    assert len(maps) >= len(DELEGATES)
    for found in maps:
        assert found["source"].startswith("https://") and found["retrieved"]
        assert found["mapped"] == sum(layer["mapped"] for layer in found["layers"])
        assert sum(row["count"] for row in found["table"]) == len(found["layers"])
        parts = {layer["subgraph"] for layer in found["layers"]} - {None}
        assert len(parts) == found["subgraphs"]
    by_name = {found["delegate"]: found for found in maps}
    tpu = by_name["Edge TPU, compiler 16"]
    assert tpu["mapped"] == 0, "a float model has no place on an Edge TPU"
    assert {row["status"] for row in tpu["table"]} == {
        "Operation is working on an unsupported data type"
    }
    assert by_name["XNNPACK on the processor"]["mapped_macs"] == 1.0


def test_one_delegate_with_layers(models: Models, tmp_path: Path) -> None:
    answer = run("delegates", models.tflite, "--delegate", "edgetpu", "--layers", cwd=tmp_path)
    assert answer.code == 0, answer.err
    assert not answer.out
    for words in (
        "coral.ai",
        "CONV_2D",
        "Operation is working on an unsupported data type",
        "what to do",
        "0 of ",
        "layer ",
    ):
        assert words in answer.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("delegates", "ONNX"),
            ("no installed plugin has rules of accelerators for onnx", "tflite"),
        ),
        (("delegates", "TFLITE", "--delegate", "egdetpu"), ("egdetpu", "Did you mean edgetpu")),
        (("delegates", "nowhere.tflite"), ("there is no file nowhere.tflite",)),
        (("profile", "TORCH"), ("no installed runtime shows what it runs of torch", "onnx")),
        (("profile", "ONNX", "--runs", "0"), ("--runs",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_errors(
    arguments: tuple[str, ...], words: tuple[str, ...], models: Models, tmp_path: Path
) -> None:
    places = {"ONNX": models.onnx, "TFLITE": models.tflite, "TORCH": models.torch}
    answer = run(*(str(places.get(a, a)) for a in arguments), cwd=tmp_path)
    assert answer.code == 2, answer.err
    assert "Traceback" not in answer.err
    for word in words:
        assert word in answer.err


def test_a_damaged_file(models: Models, tmp_path: Path) -> None:
    path = tmp_path / "cut.tflite"
    path.write_bytes(models.tflite.read_bytes()[:-200_000])
    answer = run("delegates", path, cwd=tmp_path)
    assert answer.code not in (0, 70) and "damaged" in answer.err


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_profile(kind: str, models: Models, tmp_path: Path) -> None:
    model = getattr(models, kind)
    answer = run("profile", model, "--runs", "3", "--threads", "1", "--json", cwd=tmp_path)
    assert answer.code == 0, answer.err
    found = answer.document
    assert found["runs"] == 3 and found["wall_seconds"] > 0 and found["layers"]
    assert found["integer_macs"] == 0.0
    assert found["integer_seconds"] == 0
    assert (found["seconds"] > 0) == (kind == "onnx")
    assert not list(tmp_path.iterdir()), "a profile left files behind"
    assert "float32" in answer.err
