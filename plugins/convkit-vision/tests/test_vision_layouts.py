"""Detection data sets in the layouts that people have: all of them say the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vision_data import model, write_coco, write_image, yolo

from convkit.errors import InputError, UsageError
from convkit_vision.coco_data import load_coco
from convkit_vision.coco_map import CocoMap
from convkit_vision.fidelity_map import FidelityMap
from convkit_vision.images import ImageSource

METRIC = CocoMap()
TOML = "[transform]\nresize = [40, 40]\n[detection]\n"
BOXES = [[(0, [5, 5, 10, 10]), (1, [20, 15, 10, 20])], [(1, [20, 15, 10, 20])], []]
SEEN = [(0, [10, 10, 10, 10], 0.9), (1, [25, 25, 10, 20], 0.8)]
OUTPUTS = [[yolo(SEEN)], [yolo(SEEN[1:])], [yolo([])]]


def write_yolo(
    folder: Path,
    boxes: list[list[tuple[int, Any]]],
    images: str = "images",
    labels: str = "labels",
    config: str | None = "names: [cat, dog]\n",
    side: int = 40,
) -> Path:
    """YOLO labels of boxes x y width height in pixels."""
    for number, objects in enumerate(boxes):
        write_image(folder / images / f"{number}.png", np.zeros((side, side, 3)))
        lines = [
            f"{label} {(x + w / 2) / side} {(y + h / 2) / side} {w / side} {h / side}"
            for label, (x, y, w, h) in objects
        ]
        if lines:
            path = folder / labels / f"{number}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(lines) + "\n")
    if config is not None:
        (folder / "data.yaml").write_text(config)
    (folder / "dataset.toml").write_text(TOML)
    return folder


@pytest.mark.parametrize(
    ("images", "labels", "config"),
    [
        ("images", "labels", "names: [cat, dog]\n"),
        ("images", "labels", "names: {0: cat, 1: dog}\nnc: 2\n"),
        ("images/val", "labels/val", "path: ../datasets/x\nval: images/val\nnames: [cat, dog]\n"),
        ("valid/images", "valid/labels", "val: ../valid/images\nnames: [cat, dog]\n"),
        ("images/val", "labels/val", "val: val.txt\nnames: [cat, dog]\n"),
        ("images", "labels", None),
        ("flat", "flat", "val: flat\nnames: [cat, dog]\n"),
    ],
)
def test_yolo_labels_in_every_layout(
    tmp_path: Path, images: str, labels: str, config: str | None
) -> None:
    data = write_yolo(tmp_path, BOXES, images, labels, config)
    if config is None:
        (data / "classes.txt").write_text("cat\ndog\n")
    elif "val.txt" in config:
        (data / "val.txt").write_text("".join(f"./{images}/{n}.png\n" for n in range(3)))
    result = METRIC.score(data, OUTPUTS, None)
    assert result.value == pytest.approx(1.0)
    assert (result.samples, result.details["detections"], result.problems) == (3, 3, ())
    assert len(list(METRIC.inputs(data, model(1, 3, 40, 40), 2))) == 2


@pytest.mark.parametrize(
    ("annotations", "images"),
    [
        ("annotations/instances_val2017.json", "val2017"),
        ("annotations/instances_val2017.json", "images/val2017"),
        ("annotations/instances_val.json", "images"),
        ("_annotations.coco.json", "."),
        ("annotations.json", "images"),
        ("annotations/only.json", "images"),
    ],
)
def test_coco_in_every_layout(tmp_path: Path, annotations: str, images: str) -> None:
    source = write_coco(tmp_path / "plain", [[(3, b), (7, c)] for (_, b), (_, c) in BOXES[:1]])
    data = tmp_path / "other"
    (data / annotations).parent.mkdir(parents=True)
    shutil.copy(source / "annotations.json", data / annotations)
    shutil.copytree(source / "images", data / images, dirs_exist_ok=True)
    (data / "dataset.toml").write_text(TOML)
    assert METRIC.score(data, OUTPUTS[:1], None).value == pytest.approx(1.0)
    assert len(list(METRIC.inputs(data, model(1, 3, 40, 40), None))) == 1


def test_several_annotation_files_must_be_chosen_from(tmp_path: Path) -> None:
    source = write_coco(tmp_path / "plain", [[(3, [5, 5, 10, 10])]])
    data = tmp_path / "coco"
    (data / "annotations").mkdir(parents=True)
    for split in ("train2017", "val2017"):
        shutil.copy(source / "annotations.json", data / f"annotations/instances_{split}.json")
        shutil.copytree(source / "images", data / split)
    (data / "dataset.toml").write_text(TOML)
    with pytest.raises(InputError, match="several annotation files") as caught:
        load_coco(data, None)
    assert '[data]\nannotations = "annotations/instances_train2017.json"' in caught.value.hint
    places = '[data]\nannotations = "annotations/instances_val2017.json"\nimages = "val2017"\n'
    (data / "dataset.toml").write_text(places + TOML)
    assert load_coco(data, None).images[0].file.parent.name == "val2017"
    (data / "dataset.toml").write_text('[data]\nimages = "../plain/images"\n' + TOML)
    with pytest.raises(InputError, match=r"there is no '\.\./plain/images' inside"):
        load_coco(data, None)


boxes = st.tuples(
    st.integers(0, 1), st.tuples(*[st.integers(0, 20)] * 2, *[st.integers(1, 20)] * 2)
)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.lists(boxes, max_size=3), min_size=1, max_size=3).filter(any))
def test_both_formats_hold_the_same(tmp_path: Path, drawn: list[Any]) -> None:
    for name in ("coco", "yolo"):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
    ids = (3, 7)
    coco = write_coco(tmp_path / "coco", [[(ids[k], list(b)) for k, b in row] for row in drawn])
    other = write_yolo(tmp_path / "yolo", drawn)
    left, right = (load_coco(d, None).truth["annotations"] for d in (coco, other))
    assert [a["image_id"] for a in left] == [a["image_id"] for a in right]
    assert [a["category_id"] for a in left] == [ids[a["category_id"]] for a in right]
    for key in ("bbox", "area"):
        np.testing.assert_allclose([a[key] for a in left], [a[key] for a in right], atol=1e-9)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("5 0.5 0.5 0.1 0.1", r"0\.txt:1: class 5, but data\.yaml names 2 classes \(0 to 1\)"),
        ("-1 0.5 0.5 0.1 0.1", "class -1"),
        ("0.5 0.5 0.5 0.1 0.1", r"class 0\.5"),
        ("0 0.5 0.5 0.1", "4 values"),
        ("0 20 20 10 10", r"outside 0\.\.1"),
        ("0 nan 0.5 0.1 0.1", r"outside 0\.\.1"),
        ("cat 0.5 0.5 0.1 0.1", "could not convert"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    data = write_yolo(tmp_path, BOXES)
    (data / "labels/0.txt").write_text(line + "\n")
    with pytest.raises(InputError, match=message) as caught:
        METRIC.score(data, OUTPUTS, None)
    assert "class cx cy width height" in caught.value.hint


def test_an_outline_counts_by_its_box(tmp_path: Path) -> None:
    data = write_yolo(tmp_path, [[]])
    (data / "labels").mkdir()
    (data / "labels/0.txt").write_text("1 0.5 0.375 0.75 0.5 0.625 0.875 0.5 0.5\n")
    (annotation,) = load_coco(data, None).truth["annotations"]
    assert annotation["bbox"] == pytest.approx([20, 15, 10, 20])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("names: [cat, dog\n", "cannot be read"),
        ("names: {0: cat, 2: dog}\n", "without gaps"),
        ("nc: 3\nnames: [cat, dog]\n", "nc is 3, but names has 2"),
        ("nc: 2\n", "names no classes"),
        ("- cat\n", "holds no settings"),
        ("names: [cat, dog]\nval: elsewhere\n", "'elsewhere', which is not inside"),
        ("names: [cat, dog]\nval: /etc\n", "'/etc', which is not inside"),
        ("names: !!python/object/apply:os.getcwd []\n", "cannot be read"),
    ],
)
def test_a_wrong_data_yaml_is_named(tmp_path: Path, config: str, message: str) -> None:
    data = write_yolo(tmp_path, BOXES, config=config)
    with pytest.raises(InputError, match=message):
        METRIC.score(data, OUTPUTS, None)


def test_wrong_annotations_are_named(tmp_path: Path) -> None:
    data = write_coco(tmp_path, [[(3, [5, 5, 10, 10])]])
    document = json.loads((data / "annotations.json").read_text())
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"category_id": 80}, "annotation 1 names category 80, which is not among"),
        ({"image_id": 9}, "annotation 1 belongs to image 9, which is not among"),
        ({"bbox": [1, 1, -5, 5]}, "annotation 1 has the box"),
    ]
    for change, message in wrong:
        altered = {**document, "annotations": [{**document["annotations"][0], **change}]}
        (data / "annotations.json").write_text(json.dumps(altered))
        with pytest.raises(InputError, match=message):
            METRIC.score(data, OUTPUTS[:1], None)


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    data = write_coco(tmp_path, [[(3, [5, 5, 10, 10])], []])
    (data / "images/1.png").unlink()
    with pytest.raises(InputError, match=r"image .*1\.png is missing"):
        list(METRIC.inputs(data, model(1, 3, 40, 40), None))


def test_without_dataset_toml_the_error_is_the_file_to_write(tmp_path: Path) -> None:
    data = write_yolo(tmp_path, BOXES)
    (data / "dataset.toml").unlink()
    artifact = model(1, 3, 40, 40)
    with pytest.raises(InputError, match=r"has no dataset\.toml") as caught:
        METRIC.inputs(data, artifact, None)
    example = caught.value.hint.partition(":\n\n")[2]
    assert "resize = [40, 40]" in example
    (data / "dataset.toml").write_text(example)
    assert METRIC.score(data, OUTPUTS, None).value == pytest.approx(1.0)


def test_no_annotations_and_no_labels(tmp_path: Path) -> None:
    write_image(tmp_path / "images/0.png", np.zeros((40, 40, 3)))
    (tmp_path / "dataset.toml").write_text(TOML)
    with pytest.raises(InputError, match="no annotations that are known"):
        METRIC.score(tmp_path, OUTPUTS, None)
    (tmp_path / "data.yaml").write_text("names: [cat, dog]")
    with pytest.raises(UsageError, match="labels no object"):
        METRIC.inputs(tmp_path, model(1, 3, 40, 40), None)
    with pytest.raises(InputError, match="is no folder"):
        METRIC.score(tmp_path / "images/0.png", OUTPUTS, None)


def test_what_makes_a_value_doubtful_is_said(tmp_path: Path) -> None:
    data = write_yolo(tmp_path, BOXES)
    cases: list[tuple[Any, str]] = [
        (np.zeros((1, 6, 5)), "not a single detection"),
        (np.full((1, 6, 5), np.nan), "15 boxes with NaN"),
        (np.full((1, 6, 5), 4.0), "are no probabilities"),
        (yolo([(0, [0.25, 0.25, 0.25, 0.25], 0.9)]), 'box_units = "normalized"'),
    ]
    for output, problem in cases:
        result = METRIC.score(data, [[output]] * 3, None)
        assert any(problem in said for said in result.problems), result.problems
    (data / "dataset.toml").write_text(TOML + 'box_units = "normalized"\n')
    result = METRIC.score(data, OUTPUTS, None)
    assert any('declare box_units = "pixels"' in said for said in result.problems)


def test_a_detector_against_the_reference_needs_no_labels(tmp_path: Path) -> None:
    for number in range(3):
        write_image(tmp_path / f"{number}.png", np.zeros((40, 40, 3)))
    (tmp_path / "dataset.toml").write_text(TOML)
    metric = FidelityMap()
    with pytest.raises(InputError, match="classes must be named"):
        metric.inputs(tmp_path, model(1, 3, 40, 40), None)
    (tmp_path / "dataset.toml").write_text(TOML + 'classes = ["cat", "dog"]\n')
    assert len(list(metric.inputs(tmp_path, model(1, 3, 40, 40), None) or ())) == 3
    faint = [[yolo([*SEEN, (0, [30, 30, 5, 5], 0.1)])], OUTPUTS[1], OUTPUTS[2]]
    same = metric.score_against(tmp_path, faint, faint, None)
    assert same.value == pytest.approx(1.0)
    assert same.details["objects"] == 3
    lost = metric.score_against(tmp_path, [OUTPUTS[0], OUTPUTS[2], OUTPUTS[2]], faint, None)
    assert lost.value == pytest.approx((1 + 51 / 101) / 2, abs=1e-6)
    with pytest.raises(UsageError, match="the reference detects nothing"):
        metric.score_against(tmp_path, faint, [OUTPUTS[2]] * 3, None)
    assert not metric.picture(tmp_path, {"a": OUTPUTS}, tmp_path / "p.png")


def test_a_labelled_set_serves_as_unlabelled_images(tmp_path: Path) -> None:
    data = write_yolo(tmp_path, BOXES)
    write_image(data / "masks/0.png", np.zeros((40, 40, 3)))
    source, artifact = ImageSource(), model(1, 3, 40, 40)
    assert source.accepts(data)
    names = [name for name, _ in source.samples(data, artifact, 2)]
    assert names == ["images/0.png", "images/1.png"]
    assert len(list(source.read(data, artifact, {}, None, 0))) == 3
