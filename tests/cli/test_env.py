"""`convkit env`, with a made-up plugin whose environment takes a second to build."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import Answer, assert_refused, run
from tests.support import tiny_environment as tiny

Env = Callable[..., Answer]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The cache folder."""
    return tmp_path / "cache"


@pytest.fixture
def env(tmp_path: Path, home: Path) -> Env:
    """Runs `convkit env ...` where the plugin is installed and only its wheels can be had."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    made = [
        tiny.wheel(wheels, "tinytool", "1.0", ["click<2"]),
        tiny.wheel(wheels, "click", "1.5"),
        tiny.wheel(wheels, "packaging", "1.0"),
    ]
    site = tiny.plugin(
        tmp_path,
        "# pinned long ago\n"
        "tinytool==1.0 \\\n    --hash=sha256:" + _digest(made[0]) + "\n"
        "click==1.5 --hash=sha256:" + _digest(made[1]) + "\n"
        "packaging==1.0 ; python_version > '3' --hash=sha256:" + _digest(made[2]) + "\n"
        "nowhere==1.0 ; python_version < '3'\n",
    )
    variables = {
        "CONVKIT_CACHE": str(home),
        "PYTHONPATH": str(site),
        **tiny.settings(tmp_path, *made),
    }

    def invoke(*words: str, **changes: Any) -> Answer:
        given = {**variables, **changes.pop("env", {})}
        return run("env", *words, cwd=tmp_path, env=given, **changes)

    return invoke


def _digest(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def found(answer: Answer, name: str) -> Any:
    """The one environment of a name in a document."""
    assert answer.code == 0, answer.err
    (item,) = [e for e in answer.document["environments"] if e["name"] == name]
    return item


def test_life_of_an_environment(env: Env, home: Path) -> None:
    before = found(env("list", "--json"), "tiny-tool")
    assert before["state"] == "not built"
    assert before["plugin"] == "tiny"
    assert before["edges"] == ["tiny.first", "tiny.second"]
    assert before["size_bytes"] == 3_000_000, "declared, as long as there is nothing to measure"

    built = env("build", "tiny-tool", "--json")
    assert found(built, "tiny-tool")["outcome"] == "done"
    assert "environment tiny-tool" in built.err
    folder = home / "envs" / before["folder"]
    assert list(folder.glob("lib/python*/site-packages/tinytool.py"))

    after = found(env("list", "--json"), "tiny-tool")
    assert after["state"] == "built"
    size = sum(p.lstat().st_size for p in folder.rglob("*") if p.is_file())
    assert after["size_bytes"] == size

    again = env("build", "tiny-tool", "--json", env={"PIP_CONFIG_FILE": "/dev/null"})
    assert found(again, "tiny-tool")["outcome"] == "cached", "built once, it needs nothing more"

    removed = env("remove", "tiny-tool", "--json")
    assert [r["folder"] for r in removed.document["removed"]] == [before["folder"]]
    assert removed.document["removed"][0]["size_bytes"] == size
    assert not list((home / "envs").iterdir())
    assert env("remove", "tiny-tool", "--json").document == {"removed": []}


def test_why(env: Env) -> None:
    env("build", "tiny-tool")
    item = found(env("why", "tiny-tool", "--json"), "tiny-tool")
    assert item["edges"] == ["tiny.first", "tiny.second"]
    assert item["missing"] == ["tinytool"], "a pin for other Pythons does not count"
    pins = {p["name"]: p for p in item["pins"]}
    assert pins.keys() == {"click", "packaging"}
    assert pins["click"]["locked"] == "1.5"
    assert "convkit needs click>=8.1" in pins["click"]["holders"]
    assert "tinytool needs click<2 (in tiny-tool)" in pins["click"]["holders"]
    assert "convkit needs packaging>=24" in pins["packaging"]["holders"]
    told = env("why", "tiny-tool")
    assert "needed by tiny.first: onnx -> tf-saved" in told.err
    assert "click>=8.1" in told.err


def test_what_is_not_possible_says_why(env: Env) -> None:
    item = found(env("list", "--json"), "old-python")
    assert item["state"] == "not possible"
    assert "Python 2.4" in item["reason"]
    told = env("list")
    assert "old-python needs Python 2.4" in told.err
    assert_refused(env("build", "old-python"), 1, "old-python", hint="python2.4")
    why = found(env("why", "old-python", "--json"), "old-python")
    assert why["python"] == ".".join(map(str, sys.version_info[:3]))


def test_orphans(env: Env, home: Path) -> None:
    loose = home / "envs" / "gone-0123456789ab"
    (loose / "lib").mkdir(parents=True)
    (loose / "lib" / "file").write_bytes(b"12345")
    loose.with_name("gone-0123456789ab.log").write_text("")
    (home / "envs" / "other-0123456789ab.txt").write_text("x==1")
    listing = env("list", "--json")
    assert listing.document["orphans"] == [
        {"folder": "gone-0123456789ab", "size_bytes": 5},
        {"folder": "other-0123456789ab", "size_bytes": 0},
    ]
    env("build", "tiny-tool")
    removed = env("remove", "--orphans")
    assert removed.code == 0, removed.err
    assert "removed gone-0123456789ab" in removed.err
    assert not loose.exists()
    assert found(env("list", "--json"), "tiny-tool")["state"] == "built", "that one stays"
    assert "there are no orphans" in env("remove", "--orphans").err


def test_all_builds_what_can_be_built(env: Env) -> None:
    """Those of real plugins cannot be had without a network, and say so."""
    answer = env("build", "--all", "--json")
    assert answer.code == 1
    error = answer.document["error"]
    assert "old-python" in error["hint"]
    assert found(env("list", "--json"), "tiny-tool")["state"] == "built"


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (("build", "tiny-tol"), "no environment called 'tiny-tol'", "Did you mean tiny-tool?"),
        (("remove", "tiny-tol"), "no environment called 'tiny-tol'", "Did you mean tiny-tool?"),
        (("why", "qqq"), "no environment called 'qqq'", "tiny-tool"),
        (("build",), "say which environment", "--all"),
        (("build", "tiny-tool", "--all"), "say which environment", "--all"),
        (("remove",), "say which environment", "--orphans"),
        (("bild", "tiny-tool"), "Did you mean build?", "convkit env --help"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_usage(env: Env, words: tuple[str, ...], message: str, hint: str) -> None:
    assert_refused(env(*words), 2, message, hint=hint)


def test_a_build_that_fails_is_taken_up_again(env: Env, home: Path, tmp_path: Path) -> None:
    broken = tmp_path / "wheels" / "tinytool-1.0-py3-none-any.whl"
    good = broken.read_bytes()
    broken.write_bytes(good + b"tampered with")
    answer = env("build", "tiny-tool")
    assert_refused(answer, 1, "tiny-tool could not be built", hint="Full log")
    assert found(env("list", "--json"), "tiny-tool")["state"] == "not built"
    broken.write_bytes(good)
    assert found(env("build", "tiny-tool", "--json"), "tiny-tool")["outcome"] == "done"


def test_names_are_completed(env: Env, tmp_path: Path) -> None:
    answer = env(
        env={
            "_CONVKIT_COMPLETE": "bash_complete",
            "COMP_WORDS": "convkit env why ti",
            "COMP_CWORD": "3",
        }
    )
    assert answer.out.split() == ["plain,tiny-tool"]
