"""Starting convkit loads no framework, no numpy and no networkx."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from convkit.testing.plugin import HEAVY

ROOT = Path(__file__).parents[1]


INTERFACE = [
    f"convkit.plugin.{name}"
    for name in ("implementation", "edges", "runtimes", "reading", "data", "ranking")
]


def modules_after(program: str) -> set[str]:
    """Names in sys.modules at the end of a program in a fresh interpreter."""
    report = "import sys, json; sys.stderr.write('\\n' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\n{report}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


def command(*words: str) -> str:
    return (
        "import sys\n"
        f"sys.argv = {['convkit', *words]!r}\n"
        "from convkit.cli import main\n"
        "try:\n    code = main()\n"
        "except SystemExit as done:\n    code = done.code\n"
        "assert not code, code"
    )


@pytest.mark.parametrize(
    "program",
    [
        "import convkit",
        "import convkit.api",
        "import convkit.plugin",
        "import convkit.testing",
        "import convkit.engine.worker_ops",
        command("--help"),
        command("formats"),
        command("convert", "--help"),
    ],
    ids=["convkit", "api", "plugin", "testing", "worker_ops", "help", "formats", "convert help"],
)
def test_nothing_heavy_is_loaded(program: str) -> None:
    assert not modules_after(program) & set(HEAVY)


@pytest.mark.parametrize("module", ["convkit.engine.worker_main", *INTERFACE])
def test_isolated_workers_need_the_standard_library_only(module: str) -> None:
    ours = ("convkit", "pluggy", "sitecustomize", "usercustomize", "_virtualenv", "__editable")
    before = modules_after("pass")
    strangers = {
        name.partition(".")[0]
        for name in modules_after(f"import {module}") - before
        if name.partition(".")[0] not in sys.stdlib_module_names and not name.startswith(ours)
    }
    assert not strangers
