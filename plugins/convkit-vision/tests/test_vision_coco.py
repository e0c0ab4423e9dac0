"""Decoding, suppression and COCO mAP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from vision_data import model, write_coco, write_image, yolo

from convkit.errors import InputError, UsageError
from convkit_vision.coco_map import CocoMap
from convkit_vision.detection import (
    DetectionSettings,
    detect,
    parse_detection,
    split,
)
from convkit_vision.geometry import Placement
from convkit_vision.settings import SettingError
from convkit_vision.suppression import suppress

FLAT = Placement((40, 40), (40, 40), (40, 40))
PLAIN = DetectionSettings()
CAT, DOG = (3, [5, 5, 10, 10]), (7, [20, 15, 10, 20])
SEEN = [(0, [10, 10, 10, 10], 0.9), (1, [25, 25, 10, 20], 0.8)]
METRIC = CocoMap()


def iou(a: Any, b: Any) -> float:
    inter = np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None))
    union = np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - inter
    return float(inter / union)


@st.composite
def ranked_boxes(draw: st.DrawFn) -> tuple[Any, Any]:
    count = draw(st.integers(0, 25))
    corner = st.tuples(*[st.integers(0, 20)] * 2, *[st.integers(1, 12)] * 2)
    rows = np.array(draw(st.lists(corner, min_size=count, max_size=count)), np.float64).reshape(
        -1, 4
    )
    labels = draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))
    rows[:, 2:] += rows[:, :2]
    return rows, np.array(labels, np.int64)


@given(ranked_boxes(), st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0]))
def test_suppression_keeps_exactly_the_boxes_without_a_better_twin(data: Any, limit: float) -> None:
    boxes, labels = data
    kept = suppress(boxes, labels, limit, 1000).tolist()
    assert kept == sorted(set(kept))
    for index in range(len(boxes)):
        twins = [
            better
            for better in kept
            if better < index
            and labels[better] == labels[index]
            and iou(boxes[better], boxes[index]) > limit + 1e-12
        ]
        assert (index in kept) == (not twins)


@given(ranked_boxes(), st.integers(1, 10))
def test_the_limit_of_suppression_keeps_the_best(data: Any, limit: int) -> None:
    boxes, labels = data
    everything = suppress(boxes, labels, 0.5, 1000)
    np.testing.assert_array_equal(suppress(boxes, labels, 0.5, limit), everything[:limit])


@given(ranked_boxes())
def test_classes_are_suppressed_apart(data: Any) -> None:
    boxes, labels = data
    apart = sorted(
        int(at[k])
        for label in set(labels.tolist())
        for at in [np.nonzero(labels == label)[0]]
        for k in suppress(boxes[at], labels[at], 0.5, 1000)
    )
    assert suppress(boxes, labels, 0.5, 1000).tolist() == apart


def test_suppressed_boxes_suppress_no_others() -> None:
    # The second is suppressed by the first, the third overlaps only the second.
    boxes = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]], np.float64)
    assert suppress(boxes, np.zeros(3, int), 0.4, 10).tolist() == [0, 2]


@pytest.mark.parametrize("form", ["rows", "columns", "split", "beside others"])
def test_outputs_are_recognised_by_shape(form: str) -> None:
    raw = np.random.default_rng(0).random((1, 6, 50), np.float32)
    forms: dict[str, list[Any]] = {
        "rows": [raw],
        "columns": [raw.transpose(0, 2, 1)],
        "split": [raw[:, :4], raw[:, 4:].transpose(0, 2, 1)],
        "beside others": [np.zeros((1, 32, 8, 8)), raw],
    }
    boxes, scores = split(forms[form], 2)
    np.testing.assert_array_equal(boxes, raw[0, :4].T)
    np.testing.assert_array_equal(scores, raw[0, 4:].T)


@pytest.mark.parametrize("shape", [(1, 7, 50), (2, 6, 50), (6, 50), (1, 4, 50)])
def test_other_outputs_are_refused_with_their_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        split([np.zeros(shape)], 2)
    assert str(shape) in caught.value.message
    assert "(1, 6, N)" in caught.value.hint


def test_box_formats_and_units() -> None:
    wanted = [[5, 5, 15, 15]]
    cases: list[tuple[str, str, list[float]]] = [
        ("cxcywh", "pixels", [10, 10, 10, 10]),
        ("xyxy", "pixels", [5, 5, 15, 15]),
        ("cxcywh", "normalized", [0.25, 0.25, 0.25, 0.25]),
        ("xyxy", "normalized", [0.125, 0.125, 0.375, 0.375]),
    ]
    for form, unit, box in cases:
        how = DetectionSettings(box_format=form, box_units=unit)
        found = detect([yolo([(1, box, 0.9)])], 2, how, FLAT)
        np.testing.assert_allclose(found.boxes, wanted)
        assert found.classes.tolist() == [1]
        assert found.scores.tolist() == pytest.approx([0.9])


def test_an_anchor_counts_for_every_class_above_the_threshold() -> None:
    raw = yolo([(0, [10, 10, 10, 10], 0.9)])
    raw[0, 5, 0] = 0.4
    found = detect([raw], 2, PLAIN, FLAT)
    assert found.classes.tolist() == [0, 1]
    assert detect([raw], 2, DetectionSettings(score_threshold=0.5), FLAT).classes.tolist() == [0]


def test_values_that_are_not_finite_cost_their_anchor_only() -> None:
    raw = yolo(SEEN)
    raw[0, 0, 0], raw[0, 4, 5] = np.nan, np.inf
    found = detect([raw], 2, PLAIN, FLAT)
    assert (found.classes.tolist(), found.invalid) == ([1], 2)
    assert found.score_max == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"decoder": "ssd"}, "decoder must be one of yolo"),
        ({"score_treshold": 1}, "did you mean 'score_threshold'"),
        ({"iou_threshold": 2}, "iou_threshold must be a number from 0 to 1"),
        ({"max_detections": 0}, "max_detections must be from 1"),
        ({"categories": ["cat"]}, "categories must be a whole number"),
        ({"categories": 3}, "categories must be a list"),
    ],
)
def test_wrong_detection_tables_are_explained(table: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        parse_detection(table)


def test_perfect_detections_score_one(tmp_path: Path) -> None:
    data = write_coco(tmp_path, [[CAT, DOG], [DOG], []])
    result = METRIC.score(data, [[yolo(SEEN)], [yolo(SEEN[1:])], [yolo([])]], None)
    assert result.value == pytest.approx(1.0)
    assert (result.name, result.samples, result.details["detections"]) == ("coco-map", 3, 3)
    assert result.details["score_max"] == pytest.approx(0.9)
    assert "map_large" not in result.details  # no large object: undefined


def test_a_shift_of_a_tenth_passes_seven_of_ten_thresholds(tmp_path: Path) -> None:
    # 10 x 10 moved by 1: IoU 90 / 110 = 0.818, which passes 0.50, 0.55, ... 0.80.
    data = write_coco(tmp_path, [[CAT]])
    result = METRIC.score(data, [[yolo([(0, [11, 10, 10, 10], 0.9)])]], None)
    assert result.value == pytest.approx(0.7)
    assert (result.details["map50"], result.details["map75"]) == pytest.approx((1, 1))


def test_a_better_false_alarm_halves_the_precision(tmp_path: Path) -> None:
    data = write_coco(tmp_path, [[CAT]])
    found = yolo([(0, [10, 10, 10, 10], 0.5), (0, [30, 30, 8, 8], 0.9)])
    assert METRIC.score(data, [[found]], None).value == pytest.approx(0.5)


def test_categories_may_be_mapped(tmp_path: Path) -> None:
    swapped = [[yolo([(1 - label, box, score) for label, box, score in SEEN])]]
    data = write_coco(tmp_path, [[CAT, DOG]], detection="categories = [7, 3]")
    assert METRIC.score(data, swapped, None).value == pytest.approx(1.0)
    write_coco(tmp_path, [[CAT, DOG]])
    assert METRIC.score(data, swapped, None).value == pytest.approx(0.0)
    write_coco(tmp_path, [[CAT]], detection="categories = [3, 4]")
    with pytest.raises(InputError, match="no category 4"):
        METRIC.score(data, swapped, None)


def test_letterboxed_boxes_return_to_the_image(tmp_path: Path) -> None:
    # 80 x 40 letterboxed into 40 x 40: half size, 10 rows of padding above.
    data = write_coco(tmp_path, [[CAT, DOG]], size=(80, 40), transform='mode = "letterbox"')
    found = yolo([(0, [5, 15, 5, 5], 0.9), (1, [12.5, 22.5, 5, 10], 0.8)])
    assert METRIC.score(data, [[found]], None).value == pytest.approx(1.0)


@pytest.mark.parametrize("kind", ["zero", "nan", "inf", "one"])
def test_dead_outputs_score_zero(tmp_path: Path, kind: str) -> None:
    data = write_coco(tmp_path, [[CAT, DOG], [DOG]])
    value = {"zero": 0.0, "nan": np.nan, "inf": np.inf, "one": 1.0}[kind]
    result = METRIC.score(data, [[np.full((1, 6, 300), value, np.float32)]] * 2, None)
    assert result.value == pytest.approx(0.0)
    assert result.details["invalid"] == (600 if kind in ("nan", "inf") else 0)
    assert result.details["score_max"] == (1.0 if kind == "one" else 0.0)


def test_the_number_of_outputs_must_match(tmp_path: Path) -> None:
    data = write_coco(tmp_path, [[CAT], [DOG]])
    outputs = [[yolo(SEEN)]] * 3
    with pytest.raises(UsageError, match="2 images, but there are more"):
        METRIC.score(data, outputs, None)
    with pytest.raises(UsageError, match="2 images, but there are fewer"):
        METRIC.score(data, outputs[:1], None)
    assert METRIC.score(data, outputs[:1], 1).samples == 1


def test_without_objects_map_is_undefined(tmp_path: Path) -> None:
    data = write_coco(tmp_path, [[], [CAT]])
    with pytest.raises(UsageError, match="labels no object"):
        METRIC.score(data, [[yolo(SEEN)]], 1)


def test_inputs_follow_the_annotations(tmp_path: Path) -> None:
    data = write_coco(tmp_path, [[CAT], [DOG], []])
    samples = list(METRIC.inputs(data, model(1, 3, 40, 40), 2))
    assert len(samples) == 2
    for index, (array,) in enumerate(samples):
        pixels = np.asarray(Image.open(data / "images" / f"{index}.png"), np.float32) / 255
        np.testing.assert_allclose(array[0], pixels.transpose(2, 0, 1), atol=1e-6)
    with pytest.raises(UsageError, match="batch of 4"):
        METRIC.inputs(data, model(4, 3, 40, 40), None)
    with pytest.raises(UsageError, match=r"takes \(1, 3, 8, 8\)"):
        list(METRIC.inputs(data, model(1, 3, 8, 8), None))


def test_images_must_be_as_annotated(tmp_path: Path) -> None:
    data = write_coco(tmp_path, [[CAT]])
    write_image(data / "images" / "0.png", np.zeros((40, 30, 3)))
    with pytest.raises(InputError, match="is 30x40, but annotated as 40x40"):
        list(METRIC.inputs(data, model(1, 3, 40, 40), None))


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("annotations.json", "{", "annotations.json cannot be read"),
        ("annotations.json", "{}", "is not a COCO annotation file"),
        ("annotations.json", "[]", "is not a COCO annotation file"),
        (
            "annotations.json",
            '{"images": [], "categories": [], "annotations": []}',
            "lists no images",
        ),
        (
            "annotations.json",
            '{"images": [{"id": 1, "file_name": "../../x.png", "width": 1, "height": 1}], '
            + '"categories": [], "annotations": []}',
            "leads out of",
        ),
        ("dataset.toml", "[detection]\n", r"there is no \[transform\]"),
        ("dataset.toml", "[transform]\n[detector]\n", "did you mean 'detection'"),
        ("dataset.toml", "[transform]\n[detection]\nbox_format = 1", r"\[detection\]: box_format"),
    ],
)
def test_malformed_data_sets_are_named(tmp_path: Path, file: str, text: str, message: str) -> None:
    data = write_coco(tmp_path, [[CAT]])
    (data / file).write_text(text)
    with pytest.raises(InputError, match=message):
        METRIC.score(data, [[yolo(SEEN)]], None)


def test_missing_settings_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no dataset\.toml"):
        METRIC.score(tmp_path, [], None)


def test_the_picture_has_a_column_per_model_and_the_truth(tmp_path: Path) -> None:
    data = write_coco(tmp_path, [[CAT, DOG], [DOG], [], [CAT], [CAT], [CAT]])
    outputs = {"float": [[yolo(SEEN)]] * 6, "a rather long title " * 9: [[yolo([])]] * 6}
    sizes = []
    for count in (1, 2):
        some = dict(list(outputs.items())[:count])
        assert METRIC.picture(data, some, tmp_path / f"{count}.png")
        with Image.open(tmp_path / f"{count}.png") as image:
            sizes.append(image.size)
            colours = {c for _, c in image.getcolors(1 << 24) or ()}
        # The colours of both classes, in the order of the annotation file's categories.
        assert {(0xE6, 0x19, 0x4B), (0x3C, 0xB4, 0x4B)} <= colours
    assert sizes[1][0] - sizes[0][0] == sizes[0][0] // 2 - 16
    assert sizes[0][1] == sizes[1][1]


def test_without_outputs_there_is_no_picture(tmp_path: Path) -> None:
    data = write_coco(tmp_path, [[CAT]])
    assert not METRIC.picture(data, {}, tmp_path / "a.png")
    assert not METRIC.picture(data, {"float": []}, tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()
