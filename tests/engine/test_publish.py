"""Outputs appear whole or not at all, and never in a stranger's place."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from convkit.artifact import Artifact, Format, State
from convkit.engine.publish import check_writable, output_path, publish
from convkit.errors import ExitCode, PublishError, UsageError
from convkit.manifest import Manifest, manifest_path

BRICK = Format("brick", "Bricks", (".brick",), companions=(".brick.data",))
FOLDER = Format("tf-saved", "SavedModel", directory_suffix="-saved")

MANIFEST = Manifest(
    convkit="0",
    source_name="net.toy",
    source_state="toy",
    source_digest="",
    target="brick",
    path="toy -> brick",
    digest="",
    size_bytes=1,
    precision="fp32",
    inputs=(),
    outputs=(),
    hops=(),
    python="3",
    platform="any",
    cpu_features=(),
    seed=0,
    threads=0,
)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    path = tmp_path / "store" / "artifact.brick"
    path.parent.mkdir()
    path.write_text("first")
    return Artifact(path, State("brick"))


@pytest.fixture
def folder_artifact(tmp_path: Path) -> Artifact:
    path = tmp_path / "store" / "artifact"
    (path / "variables").mkdir(parents=True)
    (path / "saved.pb").write_text("graph")
    (path / "variables" / "data").write_text("weights")
    return Artifact(path, State("tf-saved"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "net.toy"
    path.write_text("source")
    return path


def everything(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


@pytest.mark.parametrize(
    ("state", "home", "name"),
    [
        (State("tflite"), Format("tflite", "", (".tflite",)), "net.tflite"),
        (State("tflite", "int8"), Format("tflite", "", (".tflite",)), "net-int8.tflite"),
        (State("tf-saved"), Format("tf-saved", "", directory_suffix="-saved"), "net-saved"),
        (State("openvino", "fp16"), Format("openvino", "", (".xml", ".bin")), "net-fp16.xml"),
    ],
)
def test_names(state: State, home: Format, name: str) -> None:
    assert output_path(Path("out"), "net", state, home) == Path("out") / name


def test_file_and_manifest(artifact: Artifact, tmp_path: Path) -> None:
    place = tmp_path / "out" / "net.brick"
    check_writable(place, artifact.path, overwrite=False, home=BRICK)
    publish(artifact, MANIFEST, place, BRICK)
    assert place.read_text() == "first"
    assert everything(tmp_path / "out") == ["net.brick", "net.brick.convkit.json"]
    assert json.loads(manifest_path(place).read_text())["source_name"] == "net.toy"


def test_folder(folder_artifact: Artifact, source: Path, tmp_path: Path) -> None:
    place = tmp_path / "out" / "net-saved"
    for _ in range(2):  # the second time over its own
        check_writable(place, source, overwrite=False, home=FOLDER)
        publish(folder_artifact, MANIFEST, place, FOLDER)
        assert everything(tmp_path / "out") == [
            "net-saved",
            "net-saved.convkit.json",
            "net-saved/saved.pb",
            "net-saved/variables",
            "net-saved/variables/data",
        ]


def test_own_output_is_replaced(artifact: Artifact, source: Path, tmp_path: Path) -> None:
    place = tmp_path / "net.brick"
    publish(artifact, MANIFEST, place, BRICK)
    artifact.path.write_text("second")
    check_writable(place, source, overwrite=False, home=BRICK)
    publish(artifact, MANIFEST, place, BRICK)
    assert place.read_text() == "second"


def test_a_strangers_file_is_not_touched(source: Path, tmp_path: Path) -> None:
    place = tmp_path / "net.brick"
    place.write_text("precious")
    with pytest.raises(UsageError, match="not an unchanged output of convkit") as caught:
        check_writable(place, source, overwrite=False, home=BRICK)
    assert "--overwrite" in caught.value.hint
    assert place.read_text() == "precious"
    check_writable(place, source, overwrite=True, home=BRICK)


def test_own_output_that_was_edited_is_a_strangers(
    artifact: Artifact, source: Path, tmp_path: Path
) -> None:
    place = tmp_path / "net.brick"
    publish(artifact, MANIFEST, place, BRICK)
    place.write_text("fine-tuned by hand")
    with pytest.raises(UsageError):
        check_writable(place, source, overwrite=False, home=BRICK)


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_model_itself_is_never_replaced(source: Path, overwrite: bool) -> None:
    with pytest.raises(UsageError, match="would replace the model itself"):
        check_writable(source, source, overwrite, BRICK)


def test_folder_that_is_a_file(source: Path) -> None:
    with pytest.raises(PublishError, match="is a file, not a folder"):
        check_writable(source / "net.brick", source, overwrite=False, home=BRICK)


def test_folder_without_permission(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, *arguments: Any, **settings: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)  # root may write anywhere
    with pytest.raises(PublishError, match="Permission denied") as caught:
        check_writable(tmp_path / "out" / "net.brick", source, overwrite=False, home=BRICK)
    assert caught.value.exit_code is ExitCode.FAILED
    assert isinstance(caught.value.__cause__, PermissionError)


@pytest.mark.parametrize("kind", ["artifact", "folder_artifact"])
def test_full_disk_leaves_nothing_half_written(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact: Artifact = request.getfixturevalue(kind)
    place = tmp_path / "out" / "net"
    place.parent.mkdir()
    real = shutil.copyfile

    def fill(source: Any, target: Any, **settings: Any) -> Any:
        real(source, target)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", fill)
    with pytest.raises(PublishError, match="no space is left"):
        publish(artifact, MANIFEST, place, BRICK)
    assert everything(tmp_path / "out") == []


def test_no_output_without_its_manifest(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One without would be taken for a stranger's file by the next run."""

    def full(self: Path, *arguments: Any, **settings: Any) -> None:
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(PublishError, match="no space is left"):
        publish(artifact, MANIFEST, tmp_path / "out" / "net.brick", BRICK)
    assert everything(tmp_path / "out") == []


def test_asking_leaves_nothing(source: Path, tmp_path: Path) -> None:
    before = everything(tmp_path)
    check_writable(tmp_path / "some" / "where" / "net.brick", source, overwrite=False, home=BRICK)
    assert everything(tmp_path) == before


def test_failure_keeps_the_old_output(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "net.brick"
    publish(artifact, MANIFEST, place, BRICK)
    artifact.path.write_text("second")

    def refuse(source: Any, target: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PublishError, match="Input/output error"):
        publish(artifact, MANIFEST, place, BRICK)
    assert place.read_text() == "first"
    assert not list(tmp_path.glob(".*.tmp"))


def test_companions_are_named_after_the_output(artifact: Artifact, tmp_path: Path) -> None:
    """Two outputs in one folder do not share theirs, and each is told the new name."""
    artifact.path.with_name("artifact.brick.data").write_text("weights")
    told: list[dict[str, str]] = []

    def rename(path: Path, names: Mapping[str, str]) -> None:
        told.append(dict(names))
        path.write_text(f"see {names['artifact.brick.data']}")

    for name in ("net", "net-fp16"):
        place = tmp_path / "out" / f"{name}.brick"
        publish(artifact, MANIFEST, place, BRICK, rename)
        assert place.read_text() == f"see {name}.brick.data"
        assert place.with_name(f"{name}.brick.data").read_text() == "weights"
        check_writable(place, artifact.path, overwrite=False, home=BRICK)  # it is its own
    assert len(told) == 2
    assert artifact.path.read_text() == "first"
    assert len(everything(tmp_path / "out")) == 6


def test_a_companion_that_was_edited_is_a_strangers(
    artifact: Artifact, source: Path, tmp_path: Path
) -> None:
    artifact.path.with_name("artifact.brick.data").write_text("weights")
    place = tmp_path / "net.brick"
    publish(artifact, MANIFEST, place, BRICK)
    place.with_name("net.brick.data").write_text("fine-tuned by hand")
    with pytest.raises(UsageError, match="not an unchanged output"):
        check_writable(place, source, overwrite=False, home=BRICK)


def test_a_strangers_file_in_a_companions_place_is_not_touched(
    source: Path, tmp_path: Path
) -> None:
    data = tmp_path / "net.brick.data"
    data.write_text("precious")
    with pytest.raises(UsageError, match="net.brick.data exists"):
        check_writable(tmp_path / "net.brick", source, overwrite=False, home=BRICK)
    check_writable(tmp_path / "net.brick", source, overwrite=True, home=BRICK)
    with pytest.raises(UsageError, match="would replace the model itself"):
        check_writable(tmp_path / "net.brick", data, overwrite=True, home=BRICK)


def test_no_companion_of_an_older_output_stays(artifact: Artifact, tmp_path: Path) -> None:
    data = artifact.path.with_name("artifact.brick.data")
    data.write_text("weights")
    place = tmp_path / "out" / "net.brick"
    publish(artifact, MANIFEST, place, BRICK)
    data.unlink()
    publish(artifact, MANIFEST, place, BRICK)
    assert everything(tmp_path / "out") == ["net.brick", "net.brick.convkit.json"]
    check_writable(place, artifact.path, overwrite=False, home=BRICK)
