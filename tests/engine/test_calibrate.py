"""Calibration data of any kind, and the errors of data that will not do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import convkit
from convkit.artifact import Artifact, State, TensorSpec
from convkit.calibration import CalibrationData
from convkit.engine.calibrate import CalibrationRequest, collect
from convkit.errors import CalibrationError, ExitCode
from convkit.testing.laboratory import Laboratory, open_laboratory
from tests.testing.toyplugin import model as toy

TOY = "tests.testing.toyplugin.plugin"
X = TensorSpec("x", (1, 8), "float32")
STEP = TensorSpec("step", (1,), "int64")


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    with open_laboratory(tmp_path_factory.mktemp("laboratory"), (TOY,)) as opened:
        yield opened


@pytest.fixture
def gather(laboratory: Laboratory) -> Callable[..., CalibrationData]:
    def run(data: Any, *specs: TensorSpec, **changes: Any) -> CalibrationData:
        artifact = Artifact(Path("net.toy"), State("toy"), specs or (X,))
        found = collect(laboratory.session, CalibrationRequest(data, **changes), artifact)
        assert found is not None
        return found

    return run


def rows(count: int) -> Any:
    return np.arange(count * 8, dtype=np.float32).reshape(count, 1, 8)


class Reader:
    """As ONNX Runtime's `CalibrationDataReader`."""

    def __init__(self, count: int) -> None:
        self._left = [{"x": row} for row in rows(count)]

    def get_next(self) -> dict[str, Any] | None:
        return self._left.pop(0) if self._left else None


@pytest.mark.parametrize(
    "data",
    [
        list(rows(3)),
        [(row,) for row in rows(3)],
        [{"x": row} for row in rows(3)],
        Reader(3),
    ],
    ids=["arrays", "sequences", "mappings", "reader"],
)
def test_objects_are_drained_once(gather: Callable[..., CalibrationData], data: Any) -> None:
    found = gather(data)
    stored = load_file(found.path)
    assert (found.count, sorted(stored)) == (3, ["000000/0", "000001/0", "000002/0"])
    for number, row in enumerate(rows(3)):
        assert np.array_equal(stored[f"{number:06d}/0"], row)


def test_the_same_content_has_the_same_digest(gather: Callable[..., CalibrationData]) -> None:
    assert gather(list(rows(3))).digest == gather(Reader(3)).digest
    assert gather(list(rows(3))).digest != gather(list(rows(4))).digest


def test_limit(gather: Callable[..., CalibrationData], tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", rows(9))
    assert gather(tmp_path / "x.npy", limit=4).count == 4
    assert gather(tmp_path / "x.npy", limit=40).count == 9
    with pytest.raises(CalibrationError, match="at least 1"):
        gather(tmp_path / "x.npy", limit=0)


def test_synthetic(gather: Callable[..., CalibrationData]) -> None:
    found = gather(None, X, STEP, synthetic=True)
    stored = load_file(found.path)
    assert found.synthetic and found.count == 32
    assert stored["000000/0"].dtype == np.float32 and stored["000000/1"].dtype == np.int64
    assert gather(None, X, STEP, synthetic=True).digest == found.digest


def test_nothing_given(laboratory: Laboratory) -> None:
    artifact = Artifact(Path("net.toy"), State("toy"), (X,))
    assert collect(laboratory.session, CalibrationRequest(), artifact) is None


@pytest.mark.parametrize(
    "data",
    [
        [],
        [np.zeros((1, 9), np.float32)],
        [(np.zeros((1, 8), np.float32), np.zeros(1))],
        [{"y": np.zeros((1, 8), np.float32)}],
    ],
    ids=["none", "shape", "count", "name"],
)
def test_objects_that_do_not_fit(gather: Callable[..., CalibrationData], data: Any) -> None:
    with pytest.raises(CalibrationError) as caught:
        gather(data)
    assert caught.value.exit_code is ExitCode.USAGE


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.npy", None, "there is no calibration data"),
        ("notes.txt", b"text", "is no calibration data that any installed plugin reads"),
        ("cut.npy", b"\x93NUMPY\x01\x00", ""),
        ("noise.npz", b"no archive", ""),
        ("noise.safetensors", b"\xff" * 64, ""),
    ],
)
def test_files_that_will_not_do(
    gather: Callable[..., CalibrationData],
    tmp_path: Path,
    name: str,
    content: bytes | None,
    words: str,
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CalibrationError) as caught:
        gather(path)
    assert words in caught.value.message
    assert name in caught.value.message


def test_folder_without_data(gather: Callable[..., CalibrationData], tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="no images and no arrays"):
        gather(tmp_path)


def test_no_pickle_is_ever_read(gather: Callable[..., CalibrationData], tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(CalibrationError):
        gather(tmp_path / "x.npy")


def test_static_int8_without_data_stops_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVKIT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "net.toy"
    toy.write(toy.build({"a": (3, 0)}), path, "toy")
    with pytest.raises(CalibrationError, match="brick-int8 needs calibration data") as caught:
        convkit.convert(path, to="brick-int8", output_dir=tmp_path / "out", plugins=(TOY,))
    assert "--calibration PATH" in caught.value.hint
    assert "--synthetic-calibration" in caught.value.hint
    assert not (tmp_path / "out").exists()
