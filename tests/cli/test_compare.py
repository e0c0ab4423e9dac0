"""`convkit compare`: every form made and measured alike; what fails has its row."""

from __future__ import annotations

import csv
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.cli.commands import run
from tests.cli.conftest import Models

QUICK = ("--seconds", "0.3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compare")


def test_one_command_makes_scores_times_and_reports(models: Models, folder: Path) -> None:
    pytest.importorskip("vl_convert")
    answer = run(
        *("compare", models.onnx, models.tflite, "--to", "openvino", "--to", "onnx-fp16"),
        *("--data", models.arrays, "--metric", "fidelity", *QUICK, "--json"),
        *("-o", "page.html", "--models", "made", "--csv", "table.csv", "--junit", "gates.xml"),
        *("--fail-drop", "60", "--fail-slower-than", "1000"),
        cwd=folder,
    )
    assert answer.code == 0, answer.err
    document = answer.document
    titles = [m["title"] for m in document["models"]]
    assert titles == ["onnx (original)", "openvino", "onnx-fp16", models.tflite.name]
    assert not any(m["error"] for m in document["models"])
    assert [r["title"] for r in document["evaluation"]["rows"]] == titles
    assert all(r["slices"] for r in document["evaluation"]["rows"][1:])
    assert [r["title"] for r in document["benchmark"]["rows"]] == titles
    assert all(r["latency"]["count"] > 0 for r in document["benchmark"]["rows"])
    assert len(document["gates"]) == 6 and all(g["passed"] for g in document["gates"])
    assert document["drift"] == []
    assert {d["model"] for d in document["delegates"]} == {models.tflite.name}
    page = (folder / "page.html").read_text("utf-8")
    assert "onnx-fp16" in page and "https://" not in page.split("<body", 1)[0].lower()
    assert (folder / "made" / "tiny.xml").exists() or any((folder / "made").rglob("*.xml"))
    with (folder / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["title"] for r in rows] == titles
    assert float(rows[1]["median_seconds"]) > 0 and rows[1]["verdict"]
    suite = ElementTree.parse(folder / "gates.xml").getroot()
    assert suite.get("failures") == "0" and suite.get("tests") == "10"


@pytest.mark.slow  # every format of the graph
def test_what_cannot_be_made_does_not_sink_the_rest(models: Models, folder: Path) -> None:
    broken = folder / "broken.onnx"
    broken.write_bytes(models.onnx.read_bytes()[:200])
    answer = run(
        *("compare", models.onnx, broken, "--to", "openvino", "--to", "tflite-int8"),
        *(*QUICK, "--json"),
        cwd=folder,
    )
    assert answer.code == 1, answer.err
    by_title = {m["title"]: m for m in answer.document["models"]}
    assert not by_title["openvino"]["error"]
    assert "calibration" in by_title["tflite-int8"]["error"]
    assert by_title["broken.onnx"]["error"]
    timed = {r["title"]: r for r in answer.document["benchmark"]["rows"]}
    assert timed["openvino"]["latency"] and not timed["tflite-int8"]["latency"]


def test_calibration_data_beside_the_model_is_used_and_named(
    models: Models, tmp_path: Path
) -> None:
    import numpy as np
    from PIL import Image

    model = tmp_path / "tiny.onnx"
    model.write_bytes(models.onnx.read_bytes())
    images = tmp_path / "calibration"
    images.mkdir()
    rng = np.random.default_rng(7)
    for number in range(4):
        pixels = rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"{number}.png")
    (images / "calibration.toml").write_text(
        '[transform]\nresize = [16, 16]\nrange = [0.0, 1.0]\nlayout = "NCHW"\n'
    )
    answer = run("compare", model, "--to", "onnx-int8", "--no-bench", "--json", cwd=tmp_path)
    assert answer.code == 0, answer.err
    assert f"calibration data: {images}" in answer.err
    (made,) = (m for m in answer.document["models"] if m["state"] == "onnx-int8")
    assert made["manifest"]["calibration"]["count"] == 4


def test_a_limit_that_is_not_met_is_exit_code_6(models: Models, folder: Path) -> None:
    answer = run(
        *("compare", models.onnx, models.tflite, "--no-bench", "--json"),
        *("--data", models.arrays, "--metric", "fidelity", "--fail-under", "metric=1e9"),
        cwd=folder,
    )
    assert answer.code == 6
    assert "--fail-under metric=1e+09" in answer.err
    assert [g["passed"] for g in answer.document["gates"]] == [False]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--data", "nowhere"), "go together"),
        (("--fail-drop", "0.1"), "needs --data and --metric"),
        (("--fail-slower-than", "1", "--no-bench"), "needs the benchmark"),
        (("--to", "tflight"), "tflight"),
        (("--fail-under", "metric"), "is no limit"),
        (("--data", "nowhere", "--metric", "coco-mop"), "coco-mop"),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_work(
    models: Models, folder: Path, arguments: tuple[str, ...], said: str
) -> None:
    answer = run("compare", models.onnx, *arguments, cwd=folder)
    assert answer.code == 2
    assert said in answer.err


def test_evaluate_has_the_limits_and_files_too(models: Models, tmp_path: Path) -> None:
    answer = run(
        *("evaluate", models.onnx, models.tflite, "--data", models.arrays, "--metric", "fidelity"),
        *("--fail-drop", "1e9", "--fail-under", "metric=1e9", "--json"),
        *("--csv", "table.csv", "--junit", "gates.xml"),
        cwd=tmp_path,
    )
    assert answer.code == 6, answer.err
    assert [g["passed"] for g in answer.document["gates"]] == [False, True]
    with (tmp_path / "table.csv").open(newline="") as file:
        assert [r["title"] for r in csv.DictReader(file)] == ["tiny.onnx", "tiny.tflite"]
    suite = ElementTree.parse(tmp_path / "gates.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("4", "1")
