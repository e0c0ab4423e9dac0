"""`convkit plan --graph`."""

from __future__ import annotations

from pathlib import Path

import networkx as nx

from tests.cli.commands import assert_refused, run

PLAN = ("plan", "--from", "torch", "--to", "tflite-int8")


def test_all_languages_at_once(tmp_path: Path) -> None:
    files = ("roads.mmd", "roads.dot", "roads.graphml")
    flags = [word for file in files for word in ("--graph", file)]
    answer = run(*PLAN, *flags, "--json", cwd=tmp_path)
    assert answer.code == 0, answer.err
    best = answer.document["paths"][0]["steps"]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(files)
    read = nx.read_graphml(tmp_path / "roads.graphml", force_multigraph=True)
    chosen = {key: data for _, _, key, data in read.edges(keys=True, data=True)}
    chosen = {key: data for key, data in chosen.items() if data["role"] == "chosen"}
    assert sorted(chosen, key=lambda key: chosen[key]["step"]) == [s["converter"] for s in best]
    assert (tmp_path / "roads.dot").read_text().startswith("digraph")
    assert all(f"wrote {file}" in answer.err for file in files)


def test_on_stdout(tmp_path: Path) -> None:
    answer = run(*PLAN, "--graph", "-", cwd=tmp_path)
    assert answer.code == 0, answer.err
    assert answer.out.startswith("flowchart LR\n")
    assert "==>" in answer.out
    assert not list(tmp_path.iterdir())


def test_where_no_path_is_left_the_graph_shows_why(tmp_path: Path) -> None:
    words = ("plan", "--from", "torch", "--to", "onnx", "--avoid", "onnx", "--graph", "why.graphml")
    answer = run(*words, cwd=tmp_path)
    assert answer.code == 3
    read = nx.read_graphml(tmp_path / "why.graphml", force_multigraph=True)
    reasons = {data["reason"] for *_, data in read.edges(data=True) if data["role"] == "rejected"}
    assert "avoided, as you asked" in reasons


def test_refused_before_any_work(tmp_path: Path) -> None:
    answer = run(*PLAN, "--graph", "roads.png", cwd=tmp_path)
    assert_refused(answer, 2, "roads.png", hint=".graphml")
    both = run(*PLAN, "--graph", "-", "--json", cwd=tmp_path)
    assert both.code == 2
    assert "stdout" in both.document["error"]["message"]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = run(*PLAN, "--graph", "file/roads.mmd", cwd=tmp_path)
    assert answer.code == 1
    assert "cannot be written" in answer.err
