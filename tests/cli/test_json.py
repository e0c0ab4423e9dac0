"""`--json`: exactly one document on stdout, for every command, on errors too."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import run
from tests.cli.conftest import Models


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        (("formats",), {"formats"}),
        (("plugins",), {"plugins", "broken", "converters", "runners", "metrics", "samples"}),
        (("doctor",), {"python", "platform", "cache", "edges", "faults"}),
        (("sample",), {"samples"}),
        (("sample", "digits-yolo"), {"name", "folder", "model"}),
        (("completion", "zsh"), {"shell", "script"}),
        (("plan", "--from", "torch", "--to", "tflite-int8"), {"source", "target", "paths"}),
        (("plan", "MODEL", "--to", "tflite", "--explain"), {"paths", "rejections"}),
        (("inspect", "MODEL"), {"state", "inputs", "outputs", "operators", "digest"}),
        (
            ("convert", "MODEL", "--to", "onnx", "--to", "tflite", "-v"),
            {"outputs", "plan", "rejected", "failed"},
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_one_document(
    arguments: tuple[str, ...], keys: set[str], models: Models, tmp_path: Path
) -> None:
    given = [str(models.torch) if a == "MODEL" else a for a in arguments]
    answer = run(*given, "--json", cwd=tmp_path)
    assert answer.code == 0, answer.err
    assert keys <= answer.document.keys()


def test_convert_says_all_there_is(models: Models, tmp_path: Path) -> None:
    answer = run("convert", models.torch, "--to", "tflite", "-o", "out", "--json", cwd=tmp_path)
    assert answer.code == 0, answer.err
    (output,) = answer.document["outputs"]
    assert output["state"] == "tflite"
    assert (tmp_path / output["path"]).stat().st_size == output["size_bytes"]
    assert output["verification"]["verdict"] == "ok"
    assert output["manifest"]["hops"][0]["converter"] == "litert-torch.tflite"
    (plan,) = answer.document["plan"]
    assert plan == {"target": "tflite", "path": "torch -> tflite", "steps": ["litert-torch.tflite"]}
    assert "wrote out" in answer.err, "people still read stderr"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("convert", "nothere.pt2", "--to", "tflite"), 2),
        (("convert", "MODEL", "--to", "tflite-int8"), 2),
        (("inspect", "nothere.pt2"), 2),
        (("plan", "--from", "openvino", "--to", "onnx"), 3),
        (("sample", "cats"), 2),
        (("completion", "tcsh"), 2),
        (("formats", "--nope"), 2),
        (("plugins", "too", "much"), 2),
        (("doctor", "too", "much"), 2),
        (("frobnicate",), 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_one_document_on_errors(
    arguments: tuple[str, ...], code: int, models: Models, tmp_path: Path
) -> None:
    given = [str(models.torch) if a == "MODEL" else a for a in arguments]
    answer = run(*given, "--json", cwd=tmp_path)
    assert answer.code == code
    error = answer.document["error"]
    assert error["exit_code"] == code
    assert error["message"]
    assert f"error: {error['message']}" in answer.err
    assert error["hint"]
