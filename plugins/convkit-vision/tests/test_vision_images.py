"""Folders of images as calibration data."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from vision_data import model, write_grays, write_image

from convkit.errors import CalibrationError
from convkit.plugin import Artifact, State, TensorSpec
from convkit_vision.images import ImageSource, choose

RAW = {"range": "0,255"}
SMALL = model(1, 3, 4, 4)


def values(
    folder: Path, limit: int | None = None, seed: int = 0, artifact: Artifact = SMALL
) -> list[int]:
    samples = ImageSource().read(folder, artifact, RAW, limit, seed)
    return [int(sample[0].ravel()[0]) for sample in samples]


def test_accepts_folders_that_hold_images_at_any_depth(tmp_path: Path) -> None:
    source = ImageSource()
    assert not source.accepts(tmp_path)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "._ghost.png").write_bytes(b"")
    write_image(tmp_path / ".cache" / "a.png", np.zeros((2, 2, 3)))
    assert not source.accepts(tmp_path)
    write_image(tmp_path / "class" / "deep" / "a.PNG", np.zeros((2, 2, 3)))
    assert source.accepts(tmp_path)
    assert not source.accepts(tmp_path / "class" / "deep" / "a.PNG")


def test_files_are_the_images_and_the_settings(tmp_path: Path) -> None:
    write_grays(tmp_path / "sub", 2)
    (tmp_path / "calibration.toml").write_text("")
    names = [file.relative_to(tmp_path).as_posix() for file in ImageSource().files(tmp_path)]
    assert names == ["calibration.toml", "sub/000.png", "sub/001.png"]


def test_settings_may_lie_beside_the_folder(tmp_path: Path) -> None:
    write_grays(tmp_path / "images", 1)
    (tmp_path / "calibration.toml").write_text("[transform]\nrange = [0, 255]\nlayout = 'NHWC'")
    (sample,) = ImageSource().read(tmp_path / "images", model(1, 4, 4, 3), {}, None, 0)
    assert sample[0].shape == (1, 4, 4, 3)
    files = ImageSource().files(tmp_path / "images")
    assert (tmp_path / "calibration.toml").resolve() in [file.resolve() for file in files]
    assert all(file.relative_to(tmp_path / "images") for file in files)


def test_the_limit_chooses_by_seed_and_grows_by_adding(tmp_path: Path) -> None:
    write_grays(tmp_path, 40)
    few = values(tmp_path, 8, seed=1)
    assert values(tmp_path, 16, seed=1)[:8] == few == values(tmp_path, 8, seed=1)
    assert values(tmp_path, 8, seed=2) != few
    assert sorted(values(tmp_path)) == list(range(40))
    names = [f"{i}.png" for i in range(40)]
    assert choose(reversed(names), 8, 1) == choose(names, 8, 1)


def test_a_missing_transform_prints_the_file_to_write(tmp_path: Path) -> None:
    write_grays(tmp_path, 1)
    with pytest.raises(CalibrationError) as caught:
        ImageSource().read(tmp_path, SMALL, {}, None, 0)  # before the first sample is asked for
    hint = caught.value.hint
    assert str(tmp_path / "calibration.toml") in hint
    (tmp_path / "calibration.toml").write_text(hint[hint.index("[transform]") :])
    (sample,) = ImageSource().read(tmp_path, SMALL, {}, None, 0)
    assert sample[0].shape == (1, 3, 4, 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[transform]\nstdd = 1", r"calibration\.toml: \[transform\]: 'stdd' .* mean 'std'"),
        ("[transform]\nmean = 'a'", r"calibration\.toml: \[transform\]: mean must be a number"),
        ("[tranform]\n", r"calibration\.toml: 'tranform' .* mean 'transform'"),
        ("transform = 1", r"calibration\.toml: 'transform' must be a table"),
        ("[transform", r"calibration\.toml: "),
    ],
)
def test_wrong_settings_name_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    write_grays(tmp_path, 1)
    (tmp_path / "calibration.toml").write_text(text)
    with pytest.raises(CalibrationError, match=message):
        ImageSource().read(tmp_path, SMALL, RAW, None, 0)


def test_wrong_flags_are_told_from_a_wrong_file(tmp_path: Path) -> None:
    write_grays(tmp_path, 1)
    (tmp_path / "calibration.toml").write_text("[transform]\n")
    with pytest.raises(CalibrationError, match="transform flags: pad must be"):
        ImageSource().read(tmp_path, SMALL, {"pad": "300"}, None, 0)


@pytest.mark.parametrize("damage", ["empty", "junk", "truncated", "disguised"])
def test_unreadable_images_are_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "bad.png"
    write_image(path, np.random.default_rng(0).integers(0, 255, (40, 40, 3)))
    if damage == "disguised":
        with Image.open(path) as image:
            image.save(path, "TIFF")  # opened by its content, but not as one of the known formats
    else:
        content = path.read_bytes()
        path.write_bytes({"empty": b"", "junk": b"junk", "truncated": content[:-300]}[damage])
    with pytest.raises(CalibrationError, match=r"bad\.png cannot be read"):
        values(tmp_path)


def test_deep_pixels_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 40000, np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(CalibrationError, match="more than 8 bits"):
        values(tmp_path)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_every_common_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    suffix = "jpg" if mode == "CMYK" else "png"
    Image.new("RGB", (4, 4), "white").convert(mode).save(tmp_path / f"a.{suffix}")
    assert values(tmp_path) == [255]


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[[10] * 3, [20] * 3]], np.uint8))  # 2 wide, 1 high
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    image.save(tmp_path / "a.png", exif=exif)
    (sample,) = ImageSource().read(tmp_path, model(1, 3, 2, 1), RAW, None, 0)
    np.testing.assert_array_equal(sample[0][0, 0], [[10], [20]])


@pytest.mark.parametrize(
    ("artifact", "hint"),
    [
        (model(1, 3, 8, 8), "resize = [8, 8]"),
        (model(1, 4, 4, 3), 'layout = "NHWC"'),
        (model(1, 1, 4, 4), "1 channels"),
        (model(1, 48), "four axes"),
    ],
)
def test_a_shape_that_does_not_fit_is_explained(
    tmp_path: Path, artifact: Artifact, hint: str
) -> None:
    write_grays(tmp_path, 1)
    with pytest.raises(CalibrationError, match=r"\(1, 3, 4, 4\), but input images takes") as caught:
        values(tmp_path, artifact=artifact)
    assert hint in caught.value.hint


def test_free_dimensions_fit(tmp_path: Path) -> None:
    write_grays(tmp_path, 2)
    assert sorted(values(tmp_path, artifact=model("batch", 3, None, "width"))) == [0, 1]


def test_a_fixed_batch_is_filled(tmp_path: Path) -> None:
    write_grays(tmp_path, 5)
    batches = [s[0] for s in ImageSource().read(tmp_path, model(2, 3, 4, 4), RAW, None, 0)]
    assert [b.shape for b in batches] == [(2, 3, 4, 4)] * 2
    assert len({float(image.max()) for b in batches for image in b}) == 4
    with pytest.raises(CalibrationError, match=r"gives 5 images, but one batch .* is 8"):
        ImageSource().read(tmp_path, model(8, 3, 4, 4), RAW, None, 0)


def test_integer_inputs_get_integers_without_loss(tmp_path: Path) -> None:
    write_grays(tmp_path, 3)
    source, pixels = ImageSource(), model(1, 3, 4, 4, dtype="uint8")
    assert {s[0].dtype.name for s in source.read(tmp_path, pixels, RAW, None, 0)} == {"uint8"}
    with pytest.raises(CalibrationError, match="takes uint8") as caught:
        list(source.read(tmp_path, pixels, {"range": "0,1"}, None, 0))
    assert "range = [0, 255]" in caught.value.hint
    spec = TensorSpec("images", (1, 3, 4, 4), "int8", scale=1 / 255, zero_point=-128)
    quantized = Artifact(Path("m"), State("tflite", "int8"), inputs=(spec,))
    samples: list[Any] = list(source.read(tmp_path, quantized, RAW, None, 0))
    assert {s[0].dtype.name for s in samples} == {"float32"}


def test_models_with_other_inputs_are_refused_by_name(tmp_path: Path) -> None:
    write_grays(tmp_path, 1)
    two = Artifact(
        Path("m"),
        State("onnx"),
        inputs=(TensorSpec("ids", (1, 8), "int64"), TensorSpec("mask", (1, 8), "int64")),
    )
    with pytest.raises(CalibrationError, match=r"ids \(1, 8\), mask \(1, 8\)"):
        ImageSource().read(tmp_path, two, RAW, None, 0)


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="holds no image"):
        ImageSource().read(tmp_path, SMALL, RAW, None, 0)


def test_describe_speaks_of_the_declared_transform(tmp_path: Path) -> None:
    (tmp_path / "calibration.toml").write_text("[transform]\nresize = [4, 4]\n")
    words = ImageSource().describe(tmp_path, SMALL, {"channels": "bgr"})
    assert words == "stretched to 4x4 (bilinear), BGR, 0..1, NCHW"
    assert tomllib.loads((tmp_path / "calibration.toml").read_text())  # untouched
