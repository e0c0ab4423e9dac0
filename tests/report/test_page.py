"""What is on the page, without a browser."""

from __future__ import annotations

import random
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from convkit.comparison import Comparison
from convkit.errors import ConvkitError, InputError, UsageError
from convkit.report import page as page_module
from convkit.report import words
from convkit.report.blocks import Cell, Column, Section, Table
from convkit.report.headline import headline
from convkit.report.page import check_place, render, write_report
from convkit.report.palette import FORMATS, SHAPES, marker
from convkit.report.picture import LARGEST
from convkit.report.roads import roads
from tests.report import comparisons

NBSP = "\N{NO-BREAK SPACE}"


class Outline(HTMLParser):
    """Collects what a browser would follow or load, headings, and names of places."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.levels: list[int] = []
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if re.fullmatch("h[1-6]", tag):
            self.levels.append(int(tag[1]))
        self.ids += [v or "" for k, v in attrs if k == "id"]
        self.found += [
            v or "" for k, v in attrs if k in ("src", "href", "action", "data", "poster")
        ]


def png(path: Path, width: int, height: int) -> Path:
    """A picture of noise, which no format makes small."""
    noise = random.Random(1)
    rows = b"".join(b"\0" + noise.randbytes(width * 3) for _ in range(height))

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    return path


@pytest.mark.parametrize("name", list(comparisons.ALL))
def test_one_small_file_that_refers_to_nothing(name: str, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "report.html"
    write_report(comparisons.ALL[name](), path)
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    assert path.stat().st_size < 5_000_000
    outline = Outline(path.read_text("utf-8"))
    places = [a.removeprefix("#") for a in outline.found if not a.startswith("data:")]
    assert places
    assert set(places) <= set(outline.ids)


@pytest.mark.parametrize("name", list(comparisons.ALL))
def test_headings_are_in_order(name: str) -> None:
    outline = Outline(render(comparisons.ALL[name]()))
    assert outline.levels[0] == 1
    assert outline.levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(outline.levels))
    assert len(outline.ids) == len(set(outline.ids))


@pytest.mark.parametrize(
    ("make", "beginning", "parts"),
    [
        (
            comparisons.full,
            "10 files made from harbour-yolo.pt2, 1 could not be made. The fastest that keeps its "
            "coco-map: harbour-yolo-int8.xml, 3.3 times as fast, coco-map 0.5079",
            ["Only 62", "of harbour-yolo-int8.tflite's multiply-accumulates are in integers"],
        ),
        (
            comparisons.single,
            "harbour-yolo-int8.tflite (tflite-int8), made from harbour-yolo.pt2: agreement with "
            "the original degraded, 8.6",
            ["Only 62", "of its multiply-accumulates are in integers."],
        ),
        (
            comparisons.without_benchmark,
            "10 files made from harbour-yolo.pt2, 1 could not be made. The smallest that keeps its "
            "coco-map is harbour-yolo-int8.xml, coco-map 0.5079",
            [],
        ),
        (
            comparisons.without_evaluation,
            "10 files made from harbour-yolo.pt2, 1 could not be made. The fastest: "
            "harbour-yolo-int8.xml, 3.3 times as fast, agrees with the original, 14.1",
            [],
        ),
        (comparisons.nothing_made, "Nothing could be made from harbour-yolo.pt2", []),
    ],
)
def test_the_headline_is_the_answer(
    make: Callable[[], Comparison], beginning: str, parts: list[str]
) -> None:
    said = headline(make())
    assert said.startswith(beginning)
    assert all(part in said for part in parts)


def test_nothing_is_called_faster_that_is_not() -> None:
    base = comparisons.full()
    assert base.benchmark is not None
    rows = tuple(
        replace(r, ratio=replace(r.ratio, verdict="cannot tell") if r.ratio else None)
        for r in base.benchmark.rows
    )
    said = headline(replace(base, benchmark=replace(base.benchmark, rows=rows)))
    assert "None is measurably faster than the original" in said
    assert "times as fast" not in said


def test_a_fast_model_that_lost_its_metric_is_not_praised() -> None:
    base = comparisons.full()
    assert base.evaluation is not None
    rows = tuple(
        replace(r, metric=replace(r.metric, value=0.1), change=-0.4)
        if r.metric and r.title != comparisons.SOURCE
        else r
        for r in base.evaluation.rows
    )
    said = headline(replace(base, evaluation=replace(base.evaluation, rows=rows)))
    assert "None of the faster ones keeps its coco-map" in said


def test_shared_beginnings_are_one_road() -> None:
    root = roads(comparisons.full())
    assert root is not None
    assert [child.state for child in root.children] == ["onnx"]
    onnx = root.children[0]
    assert [c.state for c in onnx.children] == [
        "onnx-fp16", "onnx-int8-dynamic", "onnx-int8", "openvino", "tf-saved",
    ]  # fmt: skip
    assert [f.converter for f in onnx.failures] == ["onnx2tf.tflite"]
    assert [e.model.state for e in root.refusals] == ["tf-saved-int8"]
    titles = [e.title for r in root.walk() for e in r.outputs]
    assert len(titles) == len(set(titles)) == 11


def test_failures_of_older_manifests_stand_at_the_original() -> None:
    base = comparisons.full()
    old = replace(base, failed=tuple(replace(f, source="") for f in base.failed))
    root = roads(old)
    assert root is not None
    assert [f.converter for f in root.failures] == ["onnx2tf.tflite"]


def test_the_room_for_single_layers_is_empty_until_somebody_fills_it() -> None:
    comparison = comparisons.single()
    empty = render(comparison)
    assert "sensitiv" not in empty.lower()
    rows = ((Cell("model.2.cv1"), Cell("1.4")),)
    table = Table("What each layer costs", (Column("layer"), Column("dB", numeric=True)), rows)
    filled = render(comparison, further=(Section("sensitivity", "Layer by layer", [table]),))
    places = [
        filled.index(f'<section id="{s}"') for s in ("verification", "sensitivity", "manifests")
    ]
    assert places == sorted(places)
    assert "Layer by layer" in filled
    assert "model.2.cv1" in filled
    elsewhere = render(comparison, further=(Section("thermal", "Temperature", []),))
    assert elsewhere.index('id="thermal"') < elsewhere.index('<section id="manifests"')


def test_folders_of_somebody_stay_off_the_page() -> None:
    base = comparisons.full()
    assert base.evaluation is not None
    moved = replace(base, evaluation=replace(base.evaluation, data="/home/somebody/val2026"))
    shown = render(moved).partition('<script type="application/json"')[0]
    assert "val2026" in shown
    assert "somebody" not in shown


def test_a_runtime_that_tells_no_times_is_said_to() -> None:
    base = comparisons.full()
    silent = replace(
        base.profiles[0],
        model="quiet.tflite",
        layers=tuple(replace(layer, seconds=0.0) for layer in base.profiles[0].layers),
    )
    both = render(replace(base, profiles=(silent, base.profiles[1])))
    assert "tells no times of single kernels" in both
    assert both.count('id="arithmetic"') == 1
    assert 'id="arithmetic"' not in render(replace(base, profiles=(silent,)))


@pytest.mark.parametrize("missing", ["altair", "jinja2", "vl_convert"])
def test_a_missing_package_is_named(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str) -> None:
        if name == missing:
            raise ImportError(name)

    monkeypatch.setattr(page_module, "import_module", find)
    with pytest.raises(ConvkitError, match=missing.replace("_", "-")) as caught:
        render(comparisons.single())
    assert "pip install -e '.[report]'" in caught.value.hint


def test_a_picture_travels_inside(tmp_path: Path) -> None:
    small = png(tmp_path / "small.png", 40, 30)
    text = render(comparisons.full(small))
    assert 'src="data:image/png;base64,' in text
    assert "Side by side" in text
    assert "Side by side" not in render(comparisons.full())
    assert "Side by side" not in render(comparisons.full(tmp_path / "gone.png"))


def test_a_heavy_picture_is_made_lighter(tmp_path: Path) -> None:
    heavy = png(tmp_path / "heavy.png", 1500, 1000)
    assert heavy.stat().st_size > 2 * LARGEST
    text = render(comparisons.full(), picture=heavy)
    found = re.search(r'src="data:image/jpeg;base64,([^"]+)"', text)
    assert found is not None
    assert 50_000 < len(found[1]) <= LARGEST * 4 / 3 + 4


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "fake.png"
    path.write_bytes(content)
    with pytest.raises(InputError):
        render(comparisons.full(), picture=path)


def test_other_files_are_not_written_over(tmp_path: Path) -> None:
    place = tmp_path / "page.html"
    check_place(place)
    place.write_text("<html>mine</html>")
    with pytest.raises(UsageError, match="is no report of convkit"):
        check_place(place)
    check_place(place, overwrite=True)
    write_report(comparisons.single(), place)
    check_place(place)
    with pytest.raises(UsageError, match="is a folder"):
        check_place(tmp_path)


def test_markers_differ_without_colour_and_without_shape() -> None:
    assert len(set(SHAPES.values())) == len(SHAPES)
    assert len({marker(f).path for f in FORMATS}) == len(FORMATS)
    colours = [marker(f"onnx{p}").colour for p in ("", "-fp16", "-int8-dynamic", "-int8")]
    assert len(set(colours)) == 4
    assert marker("coreml").path not in {marker(f).path for f in FORMATS}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0178, f"17.8{NBSP}ms"), (0.00000123, f"1.23{NBSP}µs"), (185.2, f"3{NBSP}min 05{NBSP}s"),
        (1.5, f"1.50{NBSP}s"), (0.0, f"0{NBSP}ms"), (None, words.NONE), (float("nan"), "NaN"),
    ],
)  # fmt: skip
def test_times(value: float | None, text: str) -> None:
    assert words.time(value) == text


def test_numbers_that_are_none() -> None:
    assert words.decibels(float("inf")) == "exact"
    assert words.decibels(float("-inf")) == f"{words.MINUS}∞"
    assert words.size(None) == words.NONE
    assert words.times(float("inf")) == "∞"
    assert words.figure(float("nan")) == "NaN"
    assert words.change(0.00001) == "0.0000"
    assert words.change(-0.0031) == f"{words.MINUS}0.0031"
    assert words.change(0.0031) == "+0.0031"
    assert words.figure(12345.0) == "12,345"
    assert words.figure(1.5e-7) == f"1.50e{words.MINUS}7"
    assert words.middle("x" * 100 + ".onnx", 20).endswith("x.onnx")
    assert len(words.middle("x" * 100, 20)) == 20
