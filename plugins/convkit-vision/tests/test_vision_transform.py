"""Parsing, describing and applying transforms, against examples worked out by hand."""

from __future__ import annotations

import tomllib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from vision_data import model

from convkit_vision.geometry import Placement, place
from convkit_vision.pixels import to_array
from convkit_vision.settings import SettingError
from convkit_vision.transform import Transform, parse_transform, template

RAW: dict[str, Any] = {"range": (0.0, 255.0)}


def image(array: Any) -> Any:
    return Image.fromarray(np.asarray(array, np.uint8))


def numbered(height: int, width: int) -> Any:
    """A gray image in which every pixel differs: 10 * row + column."""
    return image(10 * np.arange(height)[:, None] + np.arange(width))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"reszie": 1}, "'reszie' is not a setting; did you mean 'resize'"),
        ({"resize": "160x160"}, "resize must be a whole number"),
        ({"resize": [1, 2, 3]}, "resize must be"),
        ({"resize": True}, "resize must be a whole number"),
        ({"resize": [0, 5]}, "resize must be from 1"),
        ({"interpolation": "linear"}, "interpolation must be one of nearest"),
        ({"mode": "letterbox"}, "letterbox needs resize"),
        ({"mode": "letterbox", "resize": 8}, "letterbox needs resize"),
        ({"mode": "center-crop"}, "needs crop"),
        ({"crop": [8, 8]}, "crop is for mode center-crop"),
        ({"pad": 256}, "pad must be from 0 to 255"),
        ({"pad": 1.5}, "pad must be a whole number"),
        ({"range": [0, 0]}, "range must span"),
        ({"range": 1}, "range must hold 2 numbers"),
        ({"mean": [0, 0]}, "mean must hold 1 or 3 numbers"),
        ({"mean": [0, 0, "a"]}, "mean must be a number"),
        ({"mean": [float("nan")]}, "mean must be a number"),
        ({"std": [1, 0, 1]}, "std must not be 0"),
        ({"channels": "gray", "mean": [0, 0, 0]}, "mean must hold 1 numbers for gray"),
        ({"channels": "RGBA"}, "channels must be one of"),
        ({"layout": "HWC"}, "layout must be one of"),
    ],
)
def test_wrong_tables_are_explained(table: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message.replace("[", r"\[")):
        parse_transform(table, {})


def test_flags_win_and_are_read_as_text() -> None:
    table = {"resize": [8, 8], "mode": "center-crop", "crop": [4, 4], "channels": "rgb"}
    flags = {
        "mode": "stretch",
        "resize": "160x120",
        "range": "-1,1",
        "mean": "0.5, 0.25,0",
        "pad": "7",
    }
    got = parse_transform(table, flags)
    assert got == Transform(resize=(160, 120), range=(-1, 1), mean=(0.5, 0.25, 0), pad=7)
    assert parse_transform({}, {"resize": "224"}).resize == 224
    assert parse_transform({}, {"resize": (3, 4), "std": 2}) == Transform(resize=(3, 4), std=(2.0,))
    with pytest.raises(SettingError, match="resize must be numbers"):
        parse_transform({}, {"resize": "big"})
    with pytest.raises(SettingError, match="did you mean 'layout'"):
        parse_transform({}, {"layuot": "NCHW"})


@pytest.mark.parametrize(
    ("artifact", "resize", "channels", "layout"),
    [
        (model(1, 3, 160, 120), (160, 120), "RGB", "NCHW"),
        (model(1, 96, 96, 1), (96, 96), "gray", "NHWC"),
        (model("batch", 3, None, "w"), (224, 224), "RGB", "NCHW"),
        (model(1, 64, 64, 3, layout="NHWC"), (64, 64), "RGB", "NHWC"),
    ],
)
def test_the_template_is_a_transform_for_the_model(
    artifact: Any, resize: Any, channels: str, layout: str
) -> None:
    table = tomllib.loads(template(artifact))["transform"]
    got = parse_transform(table, {})
    assert (got.resize, got.channels, got.layout) == (resize, channels, layout)


def test_describe_says_all_that_matters() -> None:
    assert Transform().describe() == "size kept, RGB, 0..1, NCHW"
    letterbox = Transform(resize=(4, 8), mode="letterbox", mean=(0.5,), std=(0.25,))
    words = "letterboxed to 4x8 (bilinear) on 114, RGB, 0..1, mean 0.5, std 0.25, NCHW"
    assert letterbox.describe() == words
    crop = Transform(resize=9, mode="center-crop", crop=(8, 7), channels="BGR", layout="NHWC")
    words = "shorter side resized to 9 (bilinear), centre crop 8x7, BGR, 0..1, NHWC"
    assert crop.describe() == words


def test_letterbox_by_hand() -> None:
    # 4 wide, 2 high, into 4 x 5: scale 1, three free rows, one above and two below.
    got = to_array(
        numbered(2, 4), Transform((5, 4), mode="letterbox", pad=9, channels="gray", **RAW)
    )
    rows = [[9] * 4, [0, 1, 2, 3], [10, 11, 12, 13], [9] * 4, [9] * 4]
    np.testing.assert_array_equal(got, [[rows]])


def test_letterbox_enlarges_by_the_smaller_ratio() -> None:
    # 2 wide, 1 high, into 6 x 4 (height, width): ratio min(4 / 2, 6 / 1) = 2; 4 x 2, rows 2 and 3.
    how = Transform((6, 4), "nearest", mode="letterbox", pad=0, channels="gray", **RAW)
    got = to_array(image([[5, 7]]), how)
    zero, row = [0] * 4, [5, 5, 7, 7]
    np.testing.assert_array_equal(got, [[[zero, zero, row, row, zero, zero]]])


def test_center_crop_by_hand() -> None:
    # 8 wide, 4 high: columns 3 and 4 and rows 1 and 2 are the middle.
    how = Transform(4, mode="center-crop", crop=(2, 2), channels="gray", **RAW)
    np.testing.assert_array_equal(to_array(numbered(4, 8), how), [[[[13, 14], [23, 24]]]])


def test_center_crop_resizes_the_shorter_side_first() -> None:
    # 6 wide, 2 high, shorter side to 4: 12 x 4, each pixel doubled; the middle 4 columns.
    how = Transform(4, "nearest", "center-crop", crop=(4, 4), channels="gray", **RAW)
    assert place(6, 2, how) == Placement((6, 2), (12, 4), (4, 4), -4, 0)
    got = to_array(numbered(2, 6), how)[0, 0]
    np.testing.assert_array_equal(got[:, 0], [2, 2, 12, 12])
    np.testing.assert_array_equal(got[0], [2, 2, 3, 3])


def test_a_crop_larger_than_the_image_is_an_error() -> None:
    with pytest.raises(ValueError, match="crop 5x5 is larger than the resized image, 4x8"):
        place(8, 4, Transform(4, mode="center-crop", crop=(5, 5)))


def test_values_channels_and_layout() -> None:
    pixel = image([[[255, 51, 0]]])
    assert to_array(pixel, Transform()).ravel().tolist() == pytest.approx([1, 0.2, 0])
    assert to_array(pixel, Transform(channels="BGR", **RAW)).ravel().tolist() == [0, 51, 255]
    signed = Transform(range=(-1, 1), mean=(0.5, 0, 0), std=(0.5, 2, 1))
    assert to_array(pixel, signed).ravel().tolist() == pytest.approx([1, -0.3, -1])
    wide = image(np.zeros((2, 5, 3)))
    assert to_array(wide, Transform()).shape == (1, 3, 2, 5)
    assert to_array(wide, Transform(layout="NHWC")).shape == (1, 2, 5, 3)
    assert to_array(wide, Transform(channels="gray", layout="NHWC")).shape == (1, 2, 5, 1)


def test_the_unit_range_is_exactly_a_division_by_255() -> None:
    values = np.arange(256).reshape(16, 16)
    got = to_array(image(values), Transform(channels="gray"))
    np.testing.assert_array_equal(got[0, 0], values.astype(np.float32) / np.float32(255))
    raw = to_array(image(values), Transform(channels="gray", **RAW))
    np.testing.assert_array_equal(raw[0, 0], values)


@pytest.mark.parametrize("name", ["nearest", "bilinear", "bicubic", "lanczos", "area", "box"])
def test_interpolations_keep_a_flat_image_flat(name: str) -> None:
    flat = image(np.full((7, 9, 3), 77))
    got = to_array(flat, Transform((5, 13), name, **RAW))
    assert got.shape == (1, 3, 5, 13)
    assert set(got.ravel()) == {77.0}


def test_area_averages() -> None:
    got = to_array(image([[0, 10], [20, 30]]), Transform((1, 1), "area", channels="gray", **RAW))
    assert got.ravel().tolist() == [15]


SIDES = st.integers(1, 300)


@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from(["stretch", "letterbox", "int", "crop"]))
def test_placement_leads_there_and_back(w: int, h: int, height: int, width: int, mode: str) -> None:
    how = {
        "stretch": Transform((height, width)),
        "letterbox": Transform((height, width), mode="letterbox"),
        "int": Transform(height),
        "crop": Transform((height, width), mode="center-crop", crop=(height, max(1, width // 2))),
    }[mode]
    spot = place(w, h, how)
    if mode == "letterbox":
        assert spot.canvas == (width, height)
        assert spot.resized[0] == width or spot.resized[1] == height
        assert spot.left >= 0 and spot.left + spot.resized[0] <= width
        assert spot.top >= 0 and spot.top + spot.resized[1] <= height
    box = np.array([[0.25 * w, 0.5 * h, 0.75 * w, h]])
    scale = np.array([spot.resized[0] / w, spot.resized[1] / h] * 2)
    there = box * scale + [spot.left, spot.top] * 2
    np.testing.assert_allclose(spot.boxes_to_source(there), box, atol=1e-6)
    outside = spot.boxes_to_source(np.array([[-1e6, -1e6, 1e6, 1e6]]))
    np.testing.assert_array_equal(outside, [[0, 0, w, h]])
