"""Mean IoU of segmentations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from vision_data import model, write_image

from convkit.errors import InputError, UsageError
from convkit_vision.mask_iou import MaskIou
from convkit_vision.segmentation import Confusion, SegmentationSettings

METRIC = MaskIou()
NAMES = ("sky", "road", "car")


def one_hot(labels: Any, classes: int = 3) -> Any:
    """Scores (1, C, H, W) whose best class is the label."""
    return np.eye(classes, dtype=np.float32)[labels].transpose(2, 0, 1)[None]


def write_masks(
    folder: Path,
    masks: list[Any],
    transform: str = "",
    table: str = 'classes = ["sky", "road", "car"]',
) -> Path:
    for number, mask in enumerate(masks):
        write_image(folder / "images" / f"{number}.png", np.zeros((*mask.shape, 3)))
        write_image(folder / "masks" / f"{number}.png", mask)
    text = f"[transform]\n{transform}\n[segmentation]\n{table}\n"
    (folder / "dataset.toml").write_text(text)
    return folder


@settings(deadline=None)  # the first example imports scikit-learn
@given(
    arrays.arrays(np.int64, (2, 5, 6), elements=st.sampled_from([0, 1, 2, 3, 255])),
    arrays.arrays(np.int64, (2, 5, 6), elements=st.integers(0, 3)),
)
def test_it_is_the_jaccard_score_of_scikit_learn(truth: Any, guess: Any) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    valid = truth != 255
    if not valid.any():
        return
    confusion = Confusion(SegmentationSettings())
    for mask, seen in zip(truth, guess, strict=True):
        confusion.add(mask, seen, 4, "mask")
    value, details = confusion.result()
    labels = np.union1d(truth[valid], guess[valid])
    wanted = metrics.jaccard_score(truth[valid], guess[valid], labels=labels, average=None)
    assert value == pytest.approx(wanted.mean())
    assert [details[f"iou_{k}"] for k in labels] == pytest.approx(wanted.tolist())
    assert details["pixel_accuracy"] == pytest.approx((truth == guess)[valid].mean())


@pytest.mark.parametrize("form", ["NCHW", "NHWC", "numbers", "numbers with a channel", "small"])
def test_outputs_of_every_form(tmp_path: Path, form: str) -> None:
    masks = [np.repeat(np.repeat(m, 4, 0), 4, 1) for m in ([[0, 1], [2, 1]], [[2, 2], [0, 255]])]
    data = write_masks(tmp_path, masks)
    labels = [np.where(m == 255, 0, m) for m in masks]
    forms: dict[str, Any] = {
        "NCHW": one_hot,
        "NHWC": lambda m: one_hot(m).transpose(0, 2, 3, 1),
        "numbers": lambda m: m[None].astype(np.int32),
        "numbers with a channel": lambda m: m[None, None].astype(np.uint8),
        "small": lambda m: one_hot(m[::2, ::2]),
    }
    result = METRIC.score(data, [[forms[form](m)] for m in labels], None)
    if form == "small":  # borders are interpolated
        assert result.value > 0.7
    else:
        assert result.value == 1.0
        assert set(result.details) == {"pixel_accuracy", "iou_sky", "iou_road", "iou_car"}
    assert result.samples == 2


def test_a_letterbox_is_undone_and_a_crop_is_all_that_counts(tmp_path: Path) -> None:
    mask = np.zeros((20, 40), np.int64)
    mask[:, 30:] = 1
    data = write_masks(tmp_path / "a", [mask], 'resize = [40, 40]\nmode = "letterbox"')
    canvas = np.full((40, 40), 2)
    canvas[10:30] = mask
    assert METRIC.score(data, [[one_hot(canvas)]], None).value == 1.0
    crop = 'mode = "center-crop"\ncrop = [20, 20]'
    data = write_masks(tmp_path / "b", [mask], crop)
    assert METRIC.score(data, [[one_hot(mask[:, 10:30])]], None).details == {
        "pixel_accuracy": 1.0,
        "iou_sky": 1.0,
    }


def test_one_score_is_a_binary_mask(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).integers(0, 2, (5, 7))
    data = write_masks(tmp_path, [mask], table='classes = ["sky", "road"]')
    output = np.where(mask, 0.9, 0.1).astype(np.float32)
    for shaped in (output[None, None], output[None, :, :, None]):
        assert METRIC.score(data, [[shaped]], None).value == 1.0


def test_palettes_and_gray_masks_are_read_and_pictures_refused(tmp_path: Path) -> None:
    mask = np.array([[0, 1], [2, 1]])
    data = write_masks(tmp_path, [mask])
    image = Image.fromarray(mask.astype(np.uint8), mode="P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.save(data / "masks/0.png")
    assert METRIC.score(data, [[one_hot(mask)]], None).value == 1.0
    write_image(data / "masks/0.png", np.zeros((2, 2, 3)))
    with pytest.raises(InputError, match="coloured picture"):
        METRIC.score(data, [[one_hot(mask)]], None)


def test_arrays(tmp_path: Path) -> None:
    masks = np.random.default_rng(0).integers(0, 3, (4, 6, 6))
    np.savez(tmp_path / "d.npz", x=np.zeros((4, 3, 6, 6), np.float32), y=masks)
    assert METRIC.inputs(tmp_path / "d.npz", model(1, 3, 6, 6), None) is None
    outputs = [[one_hot(m)] for m in masks]
    assert METRIC.score(tmp_path / "d.npz", outputs, None).value == 1.0
    assert METRIC.score(tmp_path / "d.npz", outputs[:2], 2).samples == 2
    np.savez(tmp_path / "d.npz", y=masks[:, 0])
    with pytest.raises(InputError, match="not class numbers"):
        METRIC.score(tmp_path / "d.npz", outputs, None)


def test_faults_are_named(tmp_path: Path) -> None:
    mask = np.array([[0, 1], [2, 9]])
    data = write_masks(tmp_path, [mask, mask])
    outputs = [[one_hot(np.clip(mask, 0, 2))]] * 2
    with pytest.raises(UsageError, match=r"0\.png holds class 9, but the model gives 3") as caught:
        METRIC.score(data, outputs, None)
    assert "ignore = 9" in caught.value.hint
    with pytest.raises(UsageError, match="no output is a segmentation"):
        METRIC.score(data, [[np.zeros((1, 5))]] * 2, None)
    write_masks(tmp_path, [np.clip(mask, 0, 2)] * 2)
    with pytest.raises(UsageError, match="another number of masks"):
        METRIC.score(data, outputs[:1], None)
    assert METRIC.score(data, outputs[:1], 1).value == 1.0
    write_image(data / "masks/1.png", np.zeros((3, 3)))
    with pytest.raises(InputError, match=r"mask .*1\.png is 3x3, its image 2x2"):
        METRIC.score(data, outputs, None)
    (data / "masks/1.png").unlink()
    with pytest.raises(InputError, match=r"mask .*1\.png is missing \(1 of 2\)"):
        METRIC.inputs(data, model(1, 3, 2, 2), None)
    write_masks(tmp_path / "e", [np.full((2, 2), 255)])
    with pytest.raises(UsageError, match="no pixel of the masks is labelled"):
        METRIC.score(tmp_path / "e", outputs[:1], None)
    assert not METRIC.picture(data, {}, tmp_path / "p.png")


def test_inputs_are_the_images_in_order(tmp_path: Path) -> None:
    data = write_masks(tmp_path, [np.zeros((2, 2), int)] * 3)
    assert len(list(METRIC.inputs(data, model(1, 3, 2, 2), 2) or ())) == 2
    (data / "dataset.toml").unlink()
    with pytest.raises(InputError, match=r"has no dataset\.toml") as caught:
        METRIC.inputs(data, model(1, 3, 2, 2), None)
    assert "[segmentation]" in caught.value.hint
