"""What detectors give in the wild, brought to the same detections."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convkit.errors import UsageError
from convkit_vision.detection import DetectionSettings, detect, parse_detection
from convkit_vision.geometry import Placement
from convkit_vision.settings import SettingError

SIDE = 40
FLAT = Placement((SIDE, SIDE), (SIDE, SIDE), (SIDE, SIDE))


@st.composite
def anchors(draw: st.DrawFn) -> tuple[Any, Any]:
    """Boxes cxcywh (N, 4) apart from each other, and scores (N, C); more boxes than columns, as
    where both are as many, nothing tells them apart."""
    count, classes = draw(st.integers(10, 16)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    cells = rng.permutation(16)[:count]
    centre = np.stack([cells % 4, cells // 4], 1) * 10 + 5.0
    boxes = np.concatenate([centre, rng.uniform(2, 9, (count, 2))], 1)
    scores = rng.uniform(0.01, 0.99, (count, classes))
    return boxes, scores


def found(arrays: list[Any], classes: int, **table: Any) -> list[tuple[float, ...]]:
    """Score, class and box of every detection, rounded, in a fixed order."""
    seen = detect(arrays, classes, parse_detection(table), FLAT)
    rows = zip(seen.scores, seen.classes, seen.boxes, strict=True)
    return sorted((round(float(s), 3), int(c), *np.round(b, 2).tolist()) for s, c, b in rows)


def corners(boxes: Any) -> Any:
    return np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)


@settings(deadline=None, max_examples=40)
@given(anchors())
def test_every_layout_says_the_same(data: tuple[Any, Any]) -> None:
    boxes, scores = data
    classes = scores.shape[1]
    whole = np.concatenate([boxes, scores], 1).astype(np.float32)[None]
    wanted = found([whole], classes)
    assert len(wanted) == scores.size
    xyxy = corners(boxes)
    logits = np.log(scores / (1 - scores))
    halves = np.concatenate([boxes, np.full((len(boxes), 1), 0.5), scores * 2], 1)[None]
    small = boxes / SIDE
    assert found([whole.transpose(0, 2, 1)], classes) == wanted
    assert found([whole[:, :, :4], whole[:, :, 4:]], classes) == wanted
    assert found([halves], classes, decoder="yolov5") == wanted
    assert found([np.concatenate([xyxy, scores], 1)[None]], classes, box_format="xyxy") == wanted
    yxyx = [np.concatenate([xyxy[:, [1, 0, 3, 2]], scores], 1)[None]]
    assert found(yxyx, classes, box_format="yxyx") == wanted
    shares = [np.concatenate([small, scores], 1)[None]]
    assert found(shares, classes, box_units="normalized") == wanted
    raw = [np.concatenate([boxes, logits], 1)[None]]
    assert found(raw, classes, activation="sigmoid") == wanted
    named = [scores[None], np.zeros((1, 7)), boxes[None]]
    assert found(named, classes, outputs=["scores", "other", "boxes"]) == wanted


@settings(deadline=None, max_examples=40)
@given(anchors())
def test_finished_boxes_in_every_layout(data: tuple[Any, Any]) -> None:
    boxes, scores = data
    classes = scores.shape[1]
    best, labels = scores.max(1), scores.argmax(1)
    xyxy = corners(boxes)
    table = np.concatenate([xyxy, best[:, None], labels[:, None]], 1)
    wanted = sorted(
        (round(float(s), 3), int(c), *np.round(b, 2).tolist())
        for s, c, b in zip(best, labels, xyxy, strict=True)
    )
    padded = np.concatenate([table, np.zeros((3, 6))])
    for one in (table[None], table, padded[None]):
        assert found([one], classes, decoder="end-to-end") == wanted
    apart = [xyxy[None], labels[None], best[None]]
    roles = ["boxes", "classes", "scores"]
    assert found(apart, classes, decoder="end-to-end") == wanted, "integers are the classes"
    floats = [a.astype(np.float32) for a in apart]
    assert found(floats, classes, decoder="end-to-end", outputs=roles) == wanted
    later = [xyxy, labels + 1, best]
    assert found(later, classes, decoder="end-to-end", first_class=1) == wanted
    tflite = [xyxy[None][..., [1, 0, 3, 2]] / SIDE, labels[None] * 1.0, best[None]]
    tflite = [np.concatenate([a, np.ones_like(a)], 1) for a in tflite] + [np.array([len(best)])]
    assert (
        found(
            tflite,
            classes,
            decoder="end-to-end",
            box_format="yxyx",
            box_units="normalized",
            outputs=[*roles, "count"],
        )
        == wanted
    )


def test_finished_boxes_are_not_suppressed_again() -> None:
    twins = np.array([[[5, 5, 15, 15, 0.9, 1], [5, 5, 15, 15, 0.8, 1]]])
    assert len(found([twins], 2, decoder="end-to-end")) == 2
    assert len(found([twins], 2, decoder="end-to-end", max_detections=1)) == 1


@settings(deadline=None, max_examples=40)
@given(anchors(), st.sampled_from(["first", "last"]))
def test_a_background_class(data: tuple[Any, Any], where: str) -> None:
    boxes, scores = data
    classes = scores.shape[1]
    none = np.ones((len(boxes), 1))
    parts = [none, scores] if where == "first" else [scores, none]
    logits = np.log(np.concatenate(parts, 1))
    seen = found([boxes[None], logits[None]], classes, activation="softmax", background=where)
    shares = scores / (1 + scores.sum(1, keepdims=True))
    assert [row[0] for row in seen] == pytest.approx(sorted(shares.ravel()), abs=2e-3)


@pytest.mark.parametrize(
    ("shape", "classes", "table", "hint"),
    [
        ((1, 15, 100), 10, {}, 'decoder = "yolov5"'),
        ((1, 100, 6), 10, {}, 'decoder = "end-to-end"'),
        ((1, 100, 14), 10, {"decoder": "yolov5"}, 'decoder = "yolo"'),
        ((1, 3, 20, 20, 15), 10, {}, "raw grids"),
        ((1, 84, 100), 10, {"decoder": "end-to-end"}, "(1, K, 6)"),
        ((1, 100), 10, {}, "(1, 14, N)"),
    ],
)
def test_a_wrong_decoder_is_told_by_the_shape(
    shape: tuple[int, ...], classes: int, table: dict[str, Any], hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        found([np.zeros(shape)], classes, **table)
    assert str(shape) in caught.value.message
    assert hint in caught.value.hint


def test_two_classes_and_finished_boxes_are_not_mixed_up() -> None:
    rows = np.array([[[1, 1, 9, 9, 0.9, 0], [20, 20, 30, 30, 0.4, 1], [0, 0, 0, 0, 0, 0]]])
    with pytest.raises(UsageError, match="look like finished boxes") as caught:
        found([rows], 2)
    assert "end-to-end" in caught.value.hint
    assert len(found([rows], 2, decoder="end-to-end")) == 2


@pytest.mark.parametrize("label", [7, -1, 0.5])
def test_a_class_out_of_range_is_named(label: float) -> None:
    rows = np.array([[[1, 1, 9, 9, 0.9, label]]])
    with pytest.raises(UsageError, match=f"names class {label:g}, but classes .* 0 to 1") as caught:
        found([rows], 2, decoder="end-to-end")
    assert "first_class" in caught.value.hint


def test_what_is_not_finite_costs_its_box_only() -> None:
    rows = np.array([[[1, 1, np.nan, 9, 0.9, 0], [1, 1, 9, 9, np.inf, 0], [1, 1, 9, 9, 0.5, 0]]])
    seen = detect([rows], 2, parse_detection({"decoder": "end-to-end"}), FLAT)
    assert (seen.scores.tolist(), seen.invalid) == ([0.5], 2)
    raw = np.array([[[5, 5, 4, 4, np.inf, 1]]])
    how = DetectionSettings(activation="sigmoid")
    assert detect([raw], 2, how, FLAT).invalid == 1


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"decoder": "yolov5", "background": "last"}, "background is for decoder yolo"),
        ({"decoder": "end-to-end", "activation": "sigmoid"}, "activation sigmoid is not for"),
        ({"decoder": "yolov5", "activation": "softmax"}, "activation softmax is not for"),
        ({"outputs": ["scores"]}, "name one of them boxes"),
        ({"outputs": ["box"]}, "outputs must be one of boxes"),
        ({"first_class": 2}, "first_class must be from 0 to 1"),
    ],
)
def test_contradictions_are_told(table: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        parse_detection(table)


def test_outputs_must_be_as_many_as_are_named() -> None:
    with pytest.raises(UsageError, match="has 1 outputs, but .* names 2"):
        found([np.zeros((1, 9, 6))], 2, outputs=["boxes", "scores"])
