"""Every bad input: one message with a hint, its exit code, and nothing half-written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import Answer, assert_refused, everything, run
from tests.cli.conftest import Models

OUT = "out"
FAILED, USAGE, NO_PATH, UNSAFE = 1, 2, 3, 5


def convert(model: str | Path, *arguments: str | Path, cwd: Path, **settings: Any) -> Answer:
    return run("convert", model, "-o", OUT, *arguments, cwd=cwd, **settings)


def flipped(source: Path, target: Path, position: int) -> Path:
    """A copy with one byte inverted."""
    data = bytearray(source.read_bytes())
    data[position] ^= 0xFF
    target.write_bytes(data)
    return target


def truncated(source: Path, target: Path) -> Path:
    """The first half of a file."""
    data = source.read_bytes()
    target.write_bytes(data[: len(data) // 2])
    return target


# --- the model file -----------------------------------------------------------------------------


def test_missing_file(models: Models, tmp_path: Path) -> None:
    answer = convert("tinny.pt2", "--to", "onnx", cwd=tmp_path)
    assert_refused(answer, USAGE, "there is no file tinny.pt2")
    shutil.copy(models.torch, tmp_path / "tiny.pt2")
    answer = convert("tinny.pt2", "--to", "onnx", cwd=tmp_path)
    assert_refused(answer, USAGE, "there is no file", hint="Did you mean tiny.pt2")
    assert everything(tmp_path) == ["tiny.pt2"]


@pytest.mark.parametrize("suffix", [".pt2", ".pt", ".onnx", ".tflite"])
def test_empty_file(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    path.touch()
    answer = convert(path, "--to", "tflite-fp16", cwd=tmp_path)
    assert_refused(answer, USAGE, "is empty", hint="cut short")
    assert everything(tmp_path) == [path.name]


@pytest.mark.parametrize("kind", ["torch", "onnx", "tflite"])
def test_truncated_file(kind: str, models: Models, tmp_path: Path) -> None:
    source: Path = getattr(models, kind)
    path = truncated(source, tmp_path / source.name)
    answer = convert(path, "--to", "tflite-fp16", cwd=tmp_path)
    assert_refused(answer, USAGE, path.name, hint="again")
    assert everything(tmp_path) == [path.name]


@pytest.mark.parametrize(
    ("kind", "position"),
    [("torch", 0.5), ("onnx", 0.0), ("tflite", 0.0)],
    ids=["pt2-weights", "onnx-head", "tflite-head"],
)
def test_bit_flipped_file(kind: str, position: float, models: Models, tmp_path: Path) -> None:
    source: Path = getattr(models, kind)
    place = int(position * source.stat().st_size)
    path = flipped(source, tmp_path / source.name, place)
    answer = convert(path, "--to", "tflite-fp16", cwd=tmp_path)
    assert_refused(answer, USAGE, path.name, hint="again")
    assert everything(tmp_path) == [path.name]


@pytest.mark.parametrize("kind", ["torch", "onnx", "tflite"])
@pytest.mark.parametrize(
    "positions",
    [(60, -400), pytest.param((5, 300, 0.34, -60), marks=pytest.mark.slow)],
    ids=["two", "more"],  # every plugin flips many bits of its own formats
)
def test_wherever_a_bit_flips_no_traceback_shows(
    kind: str, positions: tuple[float, ...], models: Models, tmp_path: Path
) -> None:
    """A flip inside a weight cannot be seen where the format has no checksum; elsewhere it is an
    error like any other."""
    source: Path = getattr(models, kind)
    size = source.stat().st_size
    for place in positions:
        position = int(place * size) if isinstance(place, float) else place % size
        path = flipped(source, tmp_path / f"at-{position}{source.suffix}", position)
        answer = run("inspect", path, cwd=tmp_path)
        if answer.code:
            assert_refused(answer, USAGE, path.name)


def test_wrong_suffix(models: Models, tmp_path: Path) -> None:
    path = tmp_path / "tiny.onnx"
    shutil.copy(models.torch, path)
    answer = convert(path, "--to", "tflite", cwd=tmp_path)
    words = ("torch by its content", "suffix says onnx")
    assert_refused(answer, USAGE, *words, hint="--from torch")
    assert everything(tmp_path) == ["tiny.onnx"]


def test_from_says_something_else(models: Models, tmp_path: Path) -> None:
    answer = convert(models.torch, "--from", "onnx", "--to", "tflite", cwd=tmp_path)
    assert_refused(answer, USAGE, "torch by its content", "--from says onnx", hint="--from torch")


def test_no_model_at_all(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("buy milk")
    answer = convert("notes.txt", "--to", "tflite", cwd=tmp_path)
    assert_refused(answer, USAGE, "not a model file", hint="convkit formats")


def test_folder_instead_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    answer = convert("model", "--to", "tflite", cwd=tmp_path)
    assert_refused(answer, USAGE, "a folder that holds no model", hint="convkit formats")
    answer = convert("model", "--from", "torch", "--to", "tflite", cwd=tmp_path)
    assert_refused(answer, USAGE, "model")
    assert everything(tmp_path) == ["model"]


# --- the target ---------------------------------------------------------------------------------


def test_unknown_target(models: Models, tmp_path: Path) -> None:
    answer = convert(models.torch, "--to", "tflite-int9", cwd=tmp_path)
    assert_refused(answer, USAGE, "'tflite-int9'", hint="Did you mean tflite-int8")
    assert everything(tmp_path) == []


def test_the_target_is_there_already(models: Models, tmp_path: Path) -> None:
    answer = convert(models.torch, "--to", "torch", cwd=tmp_path)
    assert_refused(answer, USAGE, "is torch already")


def test_impossible_path(models: Models, tmp_path: Path) -> None:
    answer = convert(models.tflite, "--to", "onnx", "--avoid", "tf2onnx", cwd=tmp_path)
    assert_refused(answer, NO_PATH, "no path leads from tflite to onnx", hint="avoided, as you")
    answer = convert(models.torch, "--to", "tflite", "--avoid", "tflite", cwd=tmp_path)
    assert_refused(answer, NO_PATH, "torch", "tflite")
    assert everything(tmp_path) == []


def test_unknown_tool(models: Models, tmp_path: Path) -> None:
    answer = convert(models.torch, "--to", "tflite", "--via", "onxslim", cwd=tmp_path)
    assert_refused(answer, USAGE, "'onxslim'", hint="Did you mean onnxslim")


# --- the calibration data -----------------------------------------------------------------------

INT8 = ("--to", "tflite-int8", "--calibration")


def test_no_calibration(models: Models, tmp_path: Path) -> None:
    answer = convert(models.torch, "--to", "tflite-int8", cwd=tmp_path)
    assert_refused(answer, USAGE, "needs calibration data", hint="--calibration PATH")
    answer = convert(models.torch, *INT8, "nowhere", cwd=tmp_path)
    assert_refused(answer, USAGE, "there is no calibration data at nowhere", hint="folder of")
    assert everything(tmp_path) == []


def test_folder_without_images(models: Models, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "readme.txt").write_text("none yet")
    answer = convert(models.torch, *INT8, "images", cwd=tmp_path)
    assert_refused(answer, USAGE, "images", hint=".png")
    assert everything(tmp_path) == ["images", "images/readme.txt"]


FITTING = "[transform]\nresize = [16, 16]\nrange = [0.0, 1.0]\n"


def test_unreadable_image(models: Models, images: Callable[..., Path], tmp_path: Path) -> None:
    images(3, FITTING, broken_png=b"\x89PNG\r\n\x1a\nand then nothing")
    answer = convert(models.torch, *INT8, "images", cwd=tmp_path)
    assert_refused(answer, USAGE, "broken.png")
    assert not (tmp_path / OUT).exists()


def test_images_without_a_transform(
    models: Models, images: Callable[..., Path], tmp_path: Path
) -> None:
    images(3)
    answer = convert(models.torch, *INT8, "images", cwd=tmp_path)
    assert_refused(answer, USAGE, "nothing says how", hint="[transform]")
    assert "resize" in answer.err, "the file to write is printed"


def test_images_of_another_shape(
    models: Models, images: Callable[..., Path], tmp_path: Path
) -> None:
    images(3, FITTING)
    answer = convert(models.torch, *INT8, "images", "--image-resize", "32x32", cwd=tmp_path)
    assert_refused(answer, USAGE, "32", "16")
    assert not (tmp_path / OUT).exists()


def test_arrays_of_another_shape(models: Models, tmp_path: Path) -> None:
    import numpy as np

    np.save(tmp_path / "wide.npy", np.zeros((4, 3, 16, 24), np.float32))
    answer = convert(models.torch, *INT8, "wide.npy", cwd=tmp_path)
    assert_refused(
        answer, USAGE, "(1, 3, 16, 24)", "takes (1, 3, 16, 16)", hint="as the model takes"
    )
    assert everything(tmp_path) == ["wide.npy"]


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
def test_damaged_arrays(suffix: str, models: Models, tmp_path: Path) -> None:
    (tmp_path / f"data{suffix}").write_bytes(b"\x93NUMPY" + bytes(40))
    answer = convert(models.torch, *INT8, f"data{suffix}", cwd=tmp_path)
    assert_refused(answer, USAGE, f"data{suffix}")
    assert everything(tmp_path) == [f"data{suffix}"]


# --- the place to write to ----------------------------------------------------------------------


def test_output_folder_is_a_file(models: Models, tmp_path: Path) -> None:
    (tmp_path / OUT).write_text("mine")
    answer = convert(models.torch, "--to", "tflite", cwd=tmp_path)
    assert_refused(answer, FAILED, "out is a file, not a folder", hint="another -o")
    assert (tmp_path / OUT).read_text() == "mine"


def test_output_folder_is_read_only(
    models: Models, disk: Callable[[str], Path], tmp_path: Path
) -> None:
    place = disk("size=64k,ro")
    answer = run("convert", models.torch, "--to", "tflite", "-o", place / "new", cwd=tmp_path)
    assert_refused(answer, FAILED, "cannot be written", "Read-only", hint="another -o")


def test_a_strangers_file_is_in_the_way(models: Models, tmp_path: Path) -> None:
    place = tmp_path / OUT / "tiny.tflite"
    place.parent.mkdir()
    place.write_text("precious")
    answer = convert(models.torch, "--to", "tflite", cwd=tmp_path)
    assert_refused(answer, USAGE, "tiny.tflite exists", hint="--overwrite")
    assert everything(place.parent) == ["tiny.tflite"]
    assert place.read_text() == "precious"

    answer = convert(models.torch, "--to", "tflite", "--overwrite", cwd=tmp_path)
    assert answer.code == 0, answer.err
    assert place.read_bytes() == models.tflite.read_bytes()
    assert everything(place.parent) == ["tiny.tflite", "tiny.tflite.convkit.json"]

    place.write_text("retouched")
    answer = convert(models.torch, "--to", "tflite", cwd=tmp_path)
    assert_refused(answer, USAGE, "not an unchanged output", hint="--overwrite")


def test_the_disk_of_the_output_is_full(
    models: Models, disk: Callable[[str], Path], tmp_path: Path
) -> None:
    place = disk("size=64k")
    answer = run("convert", models.torch, "--to", "tflite", "-o", place / "new", cwd=tmp_path)
    assert_refused(answer, FAILED, "no space is left", hint="Free some space")
    assert [p for p in everything(place) if p != "new"] == []


def test_the_disk_takes_the_output_but_not_its_manifest(
    models: Models, disk: Callable[[str], Path], tmp_path: Path
) -> None:
    pages = -(-models.tflite.stat().st_size // 4096)
    place = disk(f"size={4 * pages}k")
    answer = run("convert", models.torch, "--to", "tflite", "-o", place, cwd=tmp_path)
    assert_refused(answer, FAILED, "no space is left", hint="Free some space")
    assert everything(place) == [], "an output without its manifest would be taken for a stranger"


def test_files_may_not_grow(models: Models, tmp_path: Path) -> None:
    """As a full disk, without the right to mount one."""
    resource: Any = pytest.importorskip("resource")
    limit = models.tflite.stat().st_size // 2

    def prepare() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    answer = convert(models.torch, "--to", "tflite", cwd=tmp_path, prepare=prepare)
    assert_refused(answer, FAILED, "no space is left", hint="Free some space")
    assert [p for p in everything(tmp_path) if p != OUT] == []


@pytest.mark.parametrize(
    ("size", "kind", "target"), [("64k", "onnx", "onnx-fp16"), ("512k", "torch", "onnx")]
)
def test_the_disk_of_the_cache_is_full(
    size: str,
    kind: str,
    target: str,
    models: Models,
    disk: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    settings = {"CONVKIT_CACHE": str(disk(f"size={size}"))}
    answer = convert(getattr(models, kind), "--to", target, cwd=tmp_path, env=settings)
    assert_refused(answer, FAILED, "no space is left", hint="CONVKIT_CACHE")
    assert [p for p in everything(tmp_path) if not p.startswith("disk")] == []


def test_the_cache_cannot_be_used(models: Models, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    settings = {"CONVKIT_CACHE": str(tmp_path / "cache")}
    answer = convert(models.torch, "--to", "onnx", cwd=tmp_path, env=settings)
    assert_refused(answer, FAILED, "cache", hint="CONVKIT_CACHE")


# --- pickles ------------------------------------------------------------------------------------


class Bait:
    """Unpickling it makes a folder."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        import os

        return os.mkdir, (self.mark,)


@pytest.mark.parametrize("arguments", [(), ("--from", "torch")])
@pytest.mark.parametrize("command", ["convert", "inspect", "plan"])
def test_a_pickle_is_not_executed(command: str, arguments: tuple[str, ...], tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    mark = tmp_path / "executed"
    torch.save({"weight": torch.zeros(2), "bait": Bait(mark)}, tmp_path / "model.pt")
    target = () if command == "inspect" else ("--to", "tflite")
    answer = run(command, "model.pt", *target, *arguments, cwd=tmp_path)
    assert_refused(answer, UNSAFE, "model.pt", hint="--trust")
    assert everything(tmp_path) == ["model.pt"]


def test_with_trust_it_is(tmp_path: Path) -> None:
    """The proof that the bait of the test above is one."""
    torch = pytest.importorskip("torch")
    mark = tmp_path / "executed"
    torch.save({"weight": torch.zeros(2), "bait": Bait(mark)}, tmp_path / "model.pt")
    answer = run("inspect", "model.pt", "--trust", cwd=tmp_path)
    assert answer.code != UNSAFE
    assert "Traceback" not in answer.err
    assert mark.exists()


# --- the command line itself --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("frobnicate",), "frobnicate"),
        (("convert",), "--to"),
        (("convert", "--to"), "--to"),
        (("plan", "--from", "torch"), "--to"),
        (("plan", "--to", "tflite"), "where the model comes from"),
        (("plan", "--to", "tflite", "--from", "torch", "-O", "opset"), "no value"),
        (("inspect",), "MODEL"),
        (("formats", "--nope"), "--nope"),
        (("sample", "cats"), "cats"),
        (("completion", "tcsh"), "tcsh"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_usage(arguments: tuple[str, ...], word: str, tmp_path: Path) -> None:
    answer = run(*arguments, cwd=tmp_path)
    assert_refused(answer, USAGE, word)
    assert answer.out == ""
    assert everything(tmp_path) == []


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    answer = run("inspect", "nothere.pt2", "--debug", cwd=tmp_path)
    assert answer.code == USAGE
    assert "Traceback" in answer.err
    assert "error: there is no file nothere.pt2" in answer.err
