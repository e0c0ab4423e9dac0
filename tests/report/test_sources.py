"""From files on disk to a page: `convkit report`."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from convkit.cli.app import run
from convkit.codec import encode
from convkit.comparison import Comparison
from convkit.errors import ExitCode, InputError, UsageError
from convkit.kit import Kit
from convkit.manifest import manifest_path
from convkit.report.sources import default_place, read_analysis, read_comparison
from tests.report import analyses, comparisons


def lay_out(folder: Path, comparison: Comparison, *places: int) -> list[Path]:
    """Files with the manifests of some models of a comparison."""
    paths = []
    for place in places:
        model = comparison.models[place]
        path = folder / model.title
        path.write_bytes(b"model")
        manifest_path(path).write_text(json.dumps({"content": "x", **encode(model.manifest)}))
        paths.append(path)
    return paths


def test_one_manifest(tmp_path: Path) -> None:
    (path,) = lay_out(tmp_path, comparisons.full(), 10)
    found = read_comparison([path])
    assert [m.title for m in found.models] == [comparisons.SOURCE, "harbour-yolo-int8.tflite"]
    assert found.models[1].manifest == comparisons.full().models[10].manifest
    assert found.title == "harbour-yolo-int8.tflite"
    assert read_comparison([manifest_path(path)]) == replace(
        found, models=(found.models[0], replace(found.models[1], path=str(manifest_path(path))))
    )


def test_several_manifests_of_one_model(tmp_path: Path) -> None:
    paths = lay_out(tmp_path, comparisons.full(), 1, 6, 10)
    found = read_comparison(paths)
    assert [m.state for m in found.models] == ["torch", "onnx", "openvino-int8", "tflite-int8"]
    assert found.title == comparisons.SOURCE


def test_files_of_two_models_are_no_comparison(tmp_path: Path) -> None:
    base = comparisons.full()
    manifest = base.models[1].manifest
    assert manifest is not None
    other = replace(base.models[1], manifest=replace(manifest, source_digest="ff"))
    mixed = replace(base, models=(base.models[0], other, *base.models[2:]))
    with pytest.raises(UsageError, match="made from another model"):
        read_comparison(lay_out(tmp_path, mixed, 1, 2))


@pytest.mark.parametrize("name", ["full", "broken", "hostile"])
def test_a_saved_comparison_comes_back(name: str, tmp_path: Path) -> None:
    comparison = comparisons.ALL[name]()
    path = tmp_path / "saved.json"
    path.write_text(json.dumps(comparison.to_json()))
    assert read_comparison([path]).to_json() == comparison.to_json()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b"\xff\xfe", b'{"models": 3}', b'{"models": [{}]}',
     b'{"models": [1]}', b'{"hops": 1}', b'{"hops": [{"converter": "x"}]}', b"[" * 200_000],
)  # fmt: skip
def test_damaged_documents_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "saved.json").write_bytes(content)
    (tmp_path / "m.onnx").touch()
    (tmp_path / "m.onnx.convkit.json").write_bytes(content)
    for path in (tmp_path / "saved.json", tmp_path / "m.onnx"):
        with pytest.raises((InputError, UsageError)):
            read_comparison([path])


def test_default_places(tmp_path: Path) -> None:
    assert default_place([Path("b/m.onnx")]) == Path("b/m.onnx.html")
    assert default_place([Path("b/m.onnx.convkit.json")]) == Path("b/m.onnx.html")
    assert default_place([Path("compared.json")]) == Path("compared.html")
    assert default_place([Path("b/m.onnx"), Path("b/m.xml")]) == Path("report.html")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = lay_out(tmp_path, comparisons.full(), 10)
    assert run(["report", str(path), "--json"]) == ExitCode.DONE
    said = capsys.readouterr()
    document = json.loads(said.out)
    place = path.with_name(f"{path.name}.html")
    assert document["report"] == str(place)
    assert document["size_bytes"] == place.stat().st_size
    assert document["headline"].startswith("harbour-yolo-int8.tflite (tflite-int8), made from")
    assert document["headline"] in said.err
    assert run(["report", str(path)]) == ExitCode.DONE  # its own report is replaced


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["gone.onnx"], "there is no file gone.onnx"),
        (["bare.onnx"], "has no manifest beside it"),
        (["bare.onnx", "-o", "mine.html"], "is no report of convkit"),
        (["bare.onnx", "-o", "."], "is a folder"),
    ],
)
def test_errors_are_told(
    arguments: list[str],
    part: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bare.onnx").touch()
    Path("mine.html").write_text("mine")
    assert run(["report", *arguments]) == ExitCode.USAGE
    assert part in capsys.readouterr().err
    assert Path("mine.html").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (path,) = lay_out(tmp_path, comparisons.full(), 10)
    tmp_path.chmod(0o500)
    assert run(["report", str(path)]) == ExitCode.FAILED


@pytest.mark.parametrize("name", ["detector", "tiny", "hostile", "unranked"])
def test_a_saved_analysis(name: str, tmp_path: Path) -> None:
    path = tmp_path / "analysis.json"
    path.write_text(json.dumps(analyses.ALL[name]().to_json()), "utf-8")
    assert read_analysis([path]) == analyses.ALL[name]()
    assert run(["report", str(path)]) == ExitCode.DONE
    text = path.with_suffix(".html").read_text("utf-8")
    assert 'id="analysis" data-document' in text


def test_a_damaged_analysis_and_what_is_none(tmp_path: Path) -> None:
    path = tmp_path / "analysis.json"
    path.write_text('{"rows": [], "trials": 3, "regions": []}', "utf-8")
    with pytest.raises(InputError, match="is damaged"):
        read_analysis([path])
    path.write_text(json.dumps(comparisons.full().to_json()), "utf-8")
    assert read_analysis([path]) is None
    assert read_analysis([path, path]) is None
    assert read_analysis([tmp_path / "gone.json"]) is None


def test_a_real_conversion(kit: Kit, tmp_path: Path) -> None:
    """What the engine writes today is what the page reads."""
    torch: Any = pytest.importorskip("torch")
    import convkit

    torch.manual_seed(3)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()).eval()
    program = torch.export.export(network, (torch.zeros(1, 3, 8, 8),))
    torch.export.save(program, tmp_path / "tiny.pt2")
    result = convkit.convert(tmp_path / "tiny.pt2", to="onnx", output_dir=tmp_path, kit=kit)
    assert run(["report", str(result.path), "-o", str(tmp_path / "r.html")]) == ExitCode.DONE
    text = (tmp_path / "r.html").read_text("utf-8")
    assert "tiny.onnx (onnx), made from tiny.pt2" in text
    assert '<figure class="chart" id="sqnr">' in text
