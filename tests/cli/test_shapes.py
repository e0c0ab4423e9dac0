"""`--shape`, `--dynamic` and models whose axes are open, from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import assert_refused, run
from tests.cli.conftest import Models

USAGE = 2


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX model whose batch, height and width are open; its strides want sides of 4 or more."""
    torch = pytest.importorskip("torch")
    from torch.export import Dim

    torch.manual_seed(3)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 4, stride=4), torch.nn.ReLU(), torch.nn.Conv2d(6, 2, 1)
    ).eval()
    axes = {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    example = (torch.zeros(2, 3, 32, 32),)
    path = tmp_path_factory.mktemp("opened") / "opened.onnx"
    program = torch.export.export(network, example, dynamic_shapes=(axes,))
    torch.onnx.export(program, (), path, dynamo=True, verbose=False, external_data=False)
    return path


def shapes(answer: Any) -> list[list[int | str]]:
    (output,) = answer.document["outputs"]
    return [spec["shape"] for spec in output["manifest"]["inputs"]]


def test_a_given_shape_is_written_into_the_result(opened: Path, tmp_path: Path) -> None:
    answer = run(
        "convert", opened, "--to", "openvino", "--shape", "1x3x24x40", "--json", cwd=tmp_path
    )
    assert answer.code == 0, answer.err
    assert shapes(answer) == [[1, 3, 24, 40]]
    assert answer.document["plan"][0]["steps"][0] == "onnx.fix-shapes"


def test_open_axes_stay_open_and_are_verified_at_a_size_that_runs(
    opened: Path, tmp_path: Path
) -> None:
    answer = run("convert", opened, "--to", "openvino", "--json", cwd=tmp_path)
    assert answer.code == 0, answer.err
    (shape,) = shapes(answer)
    assert [isinstance(d, int) for d in shape] == [False, True, False, False]
    assert answer.document["outputs"][0]["verification"]["verdict"] == "ok"
    assert "open axes are taken as 64" in answer.err


@pytest.mark.parametrize(
    ("kind", "flag", "value", "words", "hint"),
    [
        ("onnx", "--shape", "inptu=1x3x16x16", "no input called 'inptu'", "Did you mean input"),
        ("torch", "--shape", "1x3x32x32", "is 1x3x16x16 in the file, not 1x3x32x32", "leaves open"),
        ("onnx", "--shape", "1x3", "is 1x3x16x16 in the file, not 1x3", "leaves open"),
        ("torch", "--shape", "input=bxc", "is no shape", "1x3x224x224"),
        ("torch", "--dynamic", "input=first", "is no list of axes", "images=0,2,3"),
        ("torch", "--dynamic", "inptu=0", "no input called 'inptu'", "Did you mean input"),
    ],
)
def test_what_does_not_fit_is_refused(
    kind: str, flag: str, value: str, words: str, hint: str, models: Models, tmp_path: Path
) -> None:
    answer = run("convert", getattr(models, kind), "--to", "openvino", flag, value, cwd=tmp_path)
    assert_refused(answer, USAGE, words, hint=hint)


def test_an_unknown_layout_is_refused(models: Models, tmp_path: Path) -> None:
    answer = run("convert", models.onnx, "--to", "tflite", "--io-layout", "NHWC", cwd=tmp_path)
    assert answer.code == USAGE
    assert "native" in answer.err
