"""Rule files: read strictly, one by one, and harmless to their neighbours."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

from convkit.delegates import REASONS
from convkit.errors import PluginError
from convkit.plugin.delegate_rules import read_rules
from convkit.plugin.manager import PluginManager
from convkit.plugin.registry import Registry

TOY = "tests.testing.toyplugin.plugin"
HEAD = """
name = "abacus"
title = "Abacus"
format = "toy"
source = "https://abacus.example"
version = "1"
retrieved = 2026-11-01
"""
STATUSES = "[statuses]\n" + "".join(f'{reason} = "is {reason}"\n' for reason in REASONS)
RULE = """
[[rule]]
operators = ["ADD", "MUL"]
max_version = 2
bias = true
note = "if dry"
"""
SOUND = HEAD + STATUSES + RULE


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file(tmp_path: Path) -> None:
    rules = read_rules(write(tmp_path / "a.toml", SOUND))
    assert rules.name == "abacus" and rules.retrieved == "2026-11-01"
    assert set(rules.operators) == {"ADD", "MUL"}
    (rule,) = rules.operators["ADD"]
    assert (rule.max_version, dict(rule.conditions), rule.note) == (2, {"bias": True}, "if dry")


def test_a_file_over_another(tmp_path: Path) -> None:
    write(tmp_path / "base.toml", SOUND + '[[rule]]\noperators = ["SUB"]\n')
    own = """
    base = "base.toml"
    without = ["SUB"]
    name = "old-abacus"
    [statuses]
    mapped = "done"
    [[rule]]
    operators = ["MUL"]
    max_version = 1
    """
    rules = read_rules(write(tmp_path / "old.toml", textwrap.dedent(own)))
    assert (rules.name, rules.title) == ("old-abacus", "Abacus")
    assert rules.statuses["mapped"] == "done" and rules.statuses["rank"] == "is rank"
    assert set(rules.operators) == {"ADD", "MUL"}
    assert [r.max_version for r in rules.operators["MUL"]] == [1]
    assert [r.max_version for r in rules.operators["ADD"]] == [2]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("bias = true", "beads = 3", "no condition called 'beads'"),
        ("bias = true", 'bias = "yes"', "bias takes a bool, not 'yes'"),
        ("max_version = 2", 'max_version = "2"', "max_version takes a int, not '2'"),
        ('source = "https://abacus.example"', "", "source"),
        ('version = "1"', 'version = " "', "they do not say their version"),
        ('rank = "is rank"', "", "no wording for the status rank"),
        ('rank = "is rank"', 'rank = "r"\nmood = "m"', "no status called mood"),
        ('operators = ["ADD", "MUL"]', "operators = []", "names no operators"),
        ('title = "Abacus"', 'title = "Abacus"\ncolour = "red"', "colour means nothing"),
        ('title = "Abacus"', 'title = "A"\nmax_subgraphs = "one"', "max_subgraphs cannot be 'one'"),
        ('title = "Abacus"', 'title = "A"\nkeep = "best"', "keep cannot be 'best'"),
        ('title = "Abacus"', 'title = "A"\nbase = "../b.toml"', "no other file beside it"),
        ('title = "Abacus"', 'title = "A"\nbase = "bad.toml"', "no other file beside it"),
        ("[[rule]]", "[[rule", "unusable"),
        (RULE, "", "it lacks 'rule'"),
    ],
)
def test_what_means_nothing_is_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert SOUND.count(old) == 1
    path = write(tmp_path / "bad.toml", SOUND.replace(old, new))
    with pytest.raises(PluginError, match="bad.toml") as caught:
        read_rules(path)
    assert words in caught.value.message


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "noise.toml"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(PluginError, match="unusable"):
        read_rules(path)


def registry_of(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, *files: str) -> Registry:
    """The toy plugin and a stranger's, which names these files."""
    write(
        folder / f"{name}.py",
        "from pathlib import Path\n"
        "from convkit.plugin import hookimpl\n"
        "@hookimpl\n"
        "def convkit_delegate_rules():\n"
        f"    return tuple(Path(__file__).parent / n for n in {files!r})\n",
    )
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, name, raising=False)
    manager = PluginManager()
    manager.add("toy", TOY)
    manager.add(name, name)
    return Registry(manager)


def test_a_corrupt_file_harms_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "good.toml", SOUND)
    write(tmp_path / "bad.toml", SOUND.replace("abacus", "cracked") + "beads = 3\n")
    write(tmp_path / "twice.toml", SOUND)
    write(tmp_path / "stray.toml", SOUND.replace('"abacus"', '"x"').replace('"toy"', '"tile"'))
    files = ("bad.toml", "good.toml", "twice.toml", "stray.toml", "missing.toml")
    found = registry_of(tmp_path, monkeypatch, "stranger", *files)
    assert set(found.delegate_rules) == {"abacus"}
    assert found.owner("delegate_rules", "abacus").name == "stranger"
    reasons = [b.reason for b in found.broken]
    assert len(reasons) == 4 and {b.name for b in found.broken} == {"stranger"}
    assert "beads" in reasons[0] and "bad.toml" in reasons[0]
    assert "already offered by stranger" in reasons[1]
    assert "unknown format 'tile'" in reasons[2]
    assert "missing.toml" in reasons[3]
    assert found.converters and found.runners
