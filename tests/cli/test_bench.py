"""`convkit bench` as a user meets it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.cli.commands import assert_refused, run
from tests.cli.conftest import Models


def test_bench(models: Models, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(models.onnx.read_bytes()[:300])
    answer = run(
        "bench",
        models.onnx,
        models.tflite,
        damaged,
        *("--seconds", "0.5", "--csv", "table.csv", "--junit", "junit.xml", "--json"),
        cwd=tmp_path,
    )
    assert answer.code == 1, answer.err  # one of them failed
    rows = answer.document["rows"]
    assert [row["title"] for row in rows] == ["tiny.onnx", "tiny.tflite", "damaged.onnx"]
    assert rows[1]["ratio"]["verdict"] in ("faster", "slower", "equal", "cannot tell")
    assert rows[2]["error"]
    for words in ("baseline", "damaged.onnx: ", "1 thread each", "tiny.tflite"):
        assert words in answer.err
    with (tmp_path / "table.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["title"] for row in table] == [row["title"] for row in rows]
    assert float(table[1]["ratio"]) == rows[1]["ratio"]["value"]
    assert float(table[0]["median_seconds"]) == rows[0]["latency"]["median"]
    assert table[2]["error"] == rows[2]["error"]
    cases = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert cases.get("errors") == "1"


def test_a_gate_on_speed(models: Models, tmp_path: Path) -> None:
    words = ("bench", models.onnx, models.tflite, "--seconds", "0.1", "--json")
    strict = run(*words, "--fail-slower-than", "0.0001", cwd=tmp_path)
    assert strict.code == 6
    assert strict.document["error"]["exit_code"] == 6
    assert strict.document["gates"][0]["passed"] is False
    loose = run(*words, "--fail-slower-than", "10000", cwd=tmp_path)
    assert loose.code == 0, loose.err
    assert loose.document["gates"][0]["passed"] is True


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("missing.onnx",), "no file missing.onnx"),
        (("{}", "--streams", "1,x"), "no list of numbers"),
        (("{}", "--baseline", "nobody"), "baseline"),
        (("{}", "--seconds", "0"), "seconds"),
        (("{}", "--fail-slower-than", "1"), "second MODEL"),
    ],
)
def test_wrong_requests(
    models: Models, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    given = [text.replace("{}", str(models.onnx)) for text in arguments]
    answer = run("bench", *given, cwd=tmp_path)
    assert answer.code == 2
    assert words in answer.err


def test_a_single_damaged_file_is_refused(models: Models, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(models.onnx.read_bytes()[:300])
    answer = run("bench", damaged, "--json", cwd=tmp_path)
    assert_refused(answer, 2, "damaged.onnx")
    assert json.loads(answer.out)["error"]["message"]
