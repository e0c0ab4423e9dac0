"""Top-1 accuracy over folders and CSV labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vision_data import model, write_image

from convkit.errors import InputError, UsageError
from convkit_vision.top1 import Top1

METRIC = Top1()


def folders(tmp_path: Path, table: str = "") -> Path:
    for value, name in enumerate(["ape/0", "ape/1", "bee/0", "cat/0"]):
        write_image(tmp_path / f"{name}.png", np.full((4, 4, 3), value))
    (tmp_path / "dataset.toml").write_text(f"[transform]\nrange = [0, 255]\n{table}")
    return tmp_path


def one_hot(*labels: int, classes: int = 10) -> list[Any]:
    return [[np.eye(classes, dtype=np.float32)[label][None]] for label in labels]


def test_folders_are_classes_and_a_limit_takes_from_each(tmp_path: Path) -> None:
    data = folders(tmp_path)
    samples = METRIC.inputs(data, model(1, 3, 4, 4), None)
    assert [int(s[0].max()) for s in samples] == [0, 2, 3, 1]
    assert METRIC.score(data, one_hot(0, 1, 2, 0), None).value == 1.0
    half = METRIC.score(data, one_hot(0, 2, 2, 1), None)
    assert (half.value, half.details["top5"], half.samples) == (0.5, 1.0, 4)
    assert METRIC.score(data, one_hot(0, 1, 2), 3).value == 1.0


def test_declared_classes_decide_the_indices(tmp_path: Path) -> None:
    data = folders(tmp_path, '[classification]\nclasses = ["cat", "dog", "bee", "ape"]')
    assert METRIC.score(data, one_hot(0, 2, 3, 3), None).value == 1.0
    folders(tmp_path, '[classification]\nclasses = ["cat", "bee"]')
    with pytest.raises(InputError, match="folder 'ape'"):
        METRIC.score(data, [], None)


def test_labels_may_come_from_a_csv(tmp_path: Path) -> None:
    data = folders(tmp_path)
    (data / "labels.csv").write_text("file,label\ncat/0.png,7\nape/0.png,1\n")
    assert METRIC.score(data, one_hot(7, 1), None).value == 1.0
    assert [int(s[0].max()) for s in METRIC.inputs(data, model(1, 3, 4, 4), None)] == [3, 0]
    for text in ("name,label\na,1\n", "file,label\nape/0.png,ape\n", "file,label\n../x.png,1\n"):
        (data / "labels.csv").write_text(text)
        with pytest.raises(InputError, match=r"labels\.csv cannot be read"):
            METRIC.score(data, [], None)


def test_nan_counts_as_wrong(tmp_path: Path) -> None:
    data = folders(tmp_path)
    outputs = one_hot(0, 1, 2, 0)
    outputs[0][0][0, 9] = np.nan
    result = METRIC.score(data, outputs, None)
    assert (result.value, result.details["invalid"]) == (0.75, 1)


def test_outputs_that_do_not_match_are_refused(tmp_path: Path) -> None:
    data = folders(tmp_path)
    with pytest.raises(UsageError, match="has 4 images"):
        METRIC.score(data, one_hot(0), None)
    with pytest.raises(UsageError, match="class 2, but the model gives 2 scores"):
        METRIC.score(data, one_hot(0, 1, 1, 1, classes=2), None)


def test_nothing_labelled_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "dataset.toml").write_text("[transform]\n")
    with pytest.raises(InputError, match="no labelled image"):
        METRIC.score(tmp_path, [], None)
    assert not METRIC.picture(tmp_path, {}, tmp_path / "a.png")


@pytest.mark.parametrize("form", ["npz", "pair", "column"])
def test_labels_may_come_from_arrays(tmp_path: Path, form: str) -> None:
    labels = np.array([2, 0, 1])
    path = tmp_path / "d.npz"
    if form == "pair":
        path = tmp_path
        np.save(path / "x.npy", np.zeros((3, 4)))
        np.save(path / "y.npy", labels)
    else:
        np.savez(path, x=np.zeros((3, 4)), label=labels[:, None] if form == "column" else labels)
    assert METRIC.inputs(path, model(1, 4), None) is None
    assert METRIC.score(path, one_hot(2, 0, 0), None).value == pytest.approx(2 / 3)
    assert METRIC.score(path, one_hot(2, 0), 2).value == 1.0


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0.5, 1.0, 2.0]), "the labels are float64"),
        (np.eye(3, dtype=int), "not class indices"),
        (np.array([0, 1, 77]), "row 2 has class 77, but the model gives 10 scores"),
        (np.array([-1, 1, 2]), "row 0 has class -1"),
        (np.array([0, 1]), "has 2 labels, the outputs another number"),
        (np.array([], int), "holds no labels"),
    ],
)
def test_wrong_labels_are_named(tmp_path: Path, labels: Any, message: str) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((3, 4)), y=labels)
    with pytest.raises(UsageError, match=message):
        METRIC.score(tmp_path / "d.npz", one_hot(0, 1, 2), None)


def test_outputs_that_are_no_scores_are_refused(tmp_path: Path) -> None:
    data = folders(tmp_path)
    with pytest.raises(UsageError, match=r"holds no class scores: its shape is \(1, 14, 50\)"):
        METRIC.score(data, [[np.zeros((1, 14, 50))]] * 4, None)
