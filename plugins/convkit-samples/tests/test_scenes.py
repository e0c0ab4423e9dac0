"""Scenes: disjoint sources, determinism, tight boxes, valid COCO files."""

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("PIL")

from convkit_samples.coco import read_image, write_coco
from convkit_samples.scenes import MAX_DIGITS, MIN_SIDE, SIZE, SPLITS, partition, render, scene


def test_splits_use_disjoint_digits_and_leave_none_out() -> None:
    parts = partition()
    assert tuple(parts) == SPLITS
    for first, second in combinations(SPLITS, 2):
        assert not set(parts[first]) & set(parts[second])
    assert sorted(i for part in parts.values() for i in part) == list(range(1797))


def test_every_split_holds_every_digit_in_about_equal_numbers() -> None:
    from sklearn.datasets import load_digits

    labels = load_digits().target
    for part in partition().values():
        counts = np.bincount(labels[list(part)], minlength=10)
        assert counts.max() - counts.min() <= 0.1 * counts.max() + 2


def test_a_scene_depends_on_split_index_and_seed_alone() -> None:
    for first, second in zip(scene("test", 7, 3), scene("test", 7, 3), strict=True):
        np.testing.assert_array_equal(first, second)
    for other in (scene("test", 8, 3), scene("test", 7, 4), scene("train", 7, 3)):
        assert not np.array_equal(scene("test", 7, 3)[0], other[0])


def test_scenes_have_the_promised_shapes_and_boxes_inside_the_image() -> None:
    for index in range(40):
        image, boxes, labels = scene("validation", index)
        assert image.shape == (SIZE, SIZE, 3)
        assert image.dtype == np.uint8
        assert boxes.shape == (len(labels), 4)
        assert 1 <= len(labels) <= MAX_DIGITS
        assert set(labels.tolist()) <= set(range(10))
        assert (boxes >= 0).all()
        assert (boxes <= SIZE).all()
        assert (boxes[:, 2:] - boxes[:, :2] >= MIN_SIDE).all()


@pytest.mark.parametrize("degrees", [-15.0, 0.0, 11.0])
def test_the_rendered_digit_touches_every_side_of_its_box(degrees: float) -> None:
    from sklearn.datasets import load_digits

    for ink in load_digits().images[:40]:
        opacity = render((ink / 16).astype(np.float32), 40, 44, degrees)
        for border in (opacity[0], opacity[-1], opacity[:, 0], opacity[:, -1]):
            assert border.max() >= 0.5
        assert opacity.min() >= 0
        assert opacity.max() == 1


def test_coco_files_are_valid_and_agree_with_the_scenes(tmp_path: Path) -> None:
    path = write_coco("calibration", 5, 2, tmp_path)
    document = json.loads(path.read_text(encoding="utf-8"))
    assert [c["name"] for c in document["categories"]] == [str(d) for d in range(10)]
    ids = [a["id"] for a in document["annotations"]]
    assert len(set(ids)) == len(ids)
    assert min(ids) > 0
    for index, entry in enumerate(document["images"]):
        image, boxes, labels = scene("calibration", index, 2)
        decoded = read_image(tmp_path / "images" / entry["file_name"])
        assert decoded.shape == (entry["height"], entry["width"], 3)
        assert np.abs(decoded.astype(float) - image).mean() < 12
        own = [a for a in document["annotations"] if a["image_id"] == entry["id"]]
        assert [a["category_id"] for a in own] == labels.tolist()
        xywh = np.array([a["bbox"] for a in own])
        np.testing.assert_allclose(xywh[:, :2] + xywh[:, 2:], boxes[:, 2:])
        np.testing.assert_allclose([a["area"] for a in own], xywh[:, 2] * xywh[:, 3])
