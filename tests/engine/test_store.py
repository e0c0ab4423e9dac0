"""Done once, whole or not at all, whoever asks and whoever dies."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from convkit.engine.digest import digest_files, digest_key, digest_path, size_of
from convkit.engine.store import ENTRY_FILE, Store, default_root
from convkit.errors import PublishError

KEY = "ab" + "0" * 62


def make(folder: Path) -> dict[str, int]:
    (folder / "artifact.bin").write_bytes(b"content")
    return {"answer": 42}


def test_a_relative_root_stays_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    store = Store(Path("cache"))
    monkeypatch.chdir(tmp_path / "elsewhere")  # as a converter may
    folder, _, _ = store.produce(KEY, make)
    assert folder.is_relative_to(tmp_path / "cache")


def test_made_once_then_found(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.find(KEY) is None and store.read(KEY) is None
    folder, document, cached = store.produce(KEY, make)
    assert (document, cached) == ({"answer": 42}, False)
    assert (folder / "artifact.bin").read_bytes() == b"content"

    def never(_: Path) -> Any:
        raise AssertionError("made twice")

    assert Store(tmp_path).produce(KEY, never) == (folder, {"answer": 42}, True)
    assert list((tmp_path / "staging").iterdir()) == []


def test_failure_leaves_nothing_and_can_be_tried_again(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def fail(folder: Path) -> Any:
        make(folder)
        raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        store.produce(KEY, fail)
    assert store.find(KEY) is None
    assert list((tmp_path / "staging").iterdir()) == []
    assert store.produce(KEY, make)[2] is False


def test_full_disk_is_said_in_words(tmp_path: Path) -> None:
    def full(folder: Path) -> Any:
        raise OSError(28, "No space left on device")

    with pytest.raises(PublishError, match="no space is left") as caught:
        Store(tmp_path).produce(KEY, full)
    assert "CONVKIT_CACHE" in caught.value.hint
    assert isinstance(caught.value.__cause__, OSError)


def test_damaged_entry_is_made_anew(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder, _, _ = store.produce(KEY, make)
    (folder / ENTRY_FILE).write_text("{half")
    assert store.read(KEY) is None
    assert store.produce(KEY, make)[1:] == ({"answer": 42}, False)
    store.forget(KEY)
    assert store.find(KEY) is None


def test_remembered_document(tmp_path: Path) -> None:
    Store(tmp_path).remember(KEY, {"a": [1, 2]})
    assert Store(tmp_path).read(KEY) == {"a": [1, 2]}


def _contend(root: Path, marks: Path, start: Any) -> None:
    def slow(folder: Path) -> Any:
        (marks / str(os.getpid())).touch()
        time.sleep(0.2)
        return make(folder)

    start.wait()
    _, document, _ = Store(root).produce(KEY, slow)
    assert document == {"answer": 42}


def test_concurrent_producers_make_it_once(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    context = multiprocessing.get_context("fork")
    start = context.Event()
    group = [
        context.Process(target=_contend, args=(tmp_path / "store", marks, start)) for _ in range(6)
    ]
    for process in group:
        process.start()
    start.set()
    for process in group:
        process.join(30)
    assert [p.exitcode for p in group] == [0] * 6
    assert len(list(marks.iterdir())) == 1


KILLED = """
import sys, time
from pathlib import Path
from convkit.engine.store import Store

def slow(folder):
    (folder / "half.bin").write_bytes(b"half")
    print("half", flush=True)
    time.sleep(60)

Store(Path(sys.argv[1])).produce(sys.argv[2], slow)
"""


def test_killed_producer_leaves_no_entry_and_no_lock(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path), KEY], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "half\n"
    process.kill()
    process.wait()
    process.stdout.close()
    store = Store(tmp_path)
    assert store.find(KEY) is None
    assert len(list((tmp_path / "staging").iterdir())) == 1
    store.sweep()
    assert list((tmp_path / "staging").iterdir()) == []
    assert store.produce(KEY, make)[2] is False


def test_sweep_spares_the_living(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (tmp_path / "staging" / "stranger").mkdir()
    with store.scratch() as mine:
        store.sweep()
        assert mine.is_dir()
        assert [p.name for p in (tmp_path / "staging").iterdir()] == [mine.name]
    assert not mine.exists()


def test_root_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PublishError, match="cannot be used"):
        Store(tmp_path / "file")


def test_root_follows_the_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CONVKIT_CACHE", str(tmp_path / "here"))
    assert default_root() == tmp_path / "here"
    monkeypatch.delenv("CONVKIT_CACHE")
    assert default_root().name == "convkit"


def test_digests(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "a").write_text("1")
    (tree / "sub" / "b").write_text("22")
    assert size_of(tree) == 3 and size_of(tree / "a") == 1
    before = digest_path(tree)
    assert before == digest_files([tree / "sub" / "b", tree / "a"], tree)
    (tree / "sub" / "b").rename(tree / "b")
    assert digest_path(tree) != before
    assert digest_key({"a": 1, "b": 2}) == digest_key({"b": 2, "a": 1}) != digest_key({"a": 1})


def test_entry_is_plain_json(tmp_path: Path) -> None:
    folder, _, _ = Store(tmp_path).produce(KEY, make)
    assert json.loads((folder / ENTRY_FILE).read_text()) == {"answer": 42}
