"""The kit finds every fault, by the test that is there for it and by no other."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.testing import bad_suites

SUITES = {
    name: suite
    for name, suite in vars(bad_suites).items()
    if name.startswith("Test") and hasattr(suite, "fails")
}
ROOT = Path(__file__).parents[2]

Outcomes = Mapping[str, Mapping[str, tuple[str, str]]]
"""Suite to test to (outcome, message)."""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """One run of all bad suites."""
    report = tmp_path_factory.mktemp("bad") / "report.xml"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--junitxml={report}",
    ]
    done = subprocess.run(
        [*command, "-o", "addopts=--import-mode=importlib", str(Path(bad_suites.__file__))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert report.exists(), done.stdout + done.stderr
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        suite = case.attrib["classname"].rpartition(".")[2]
        # the conversion is a fixture, so what fails it is an error of the test's set-up
        faults = [child for child in case if child.tag in ("failure", "error")]
        skips = [child for child in case if child.tag == "skipped"]
        kind = "failed" if faults else "skipped" if skips else "passed"
        text = " ".join(f"{c.attrib.get('message', '')} {c.text or ''}" for c in faults)
        found.setdefault(suite, {})[case.attrib["name"]] = (kind, text)
    return found


@pytest.mark.parametrize("name", SUITES)
def test_exactly_the_right_tests_fail(outcomes: Outcomes, name: str) -> None:
    failed = {test: text for test, (kind, text) in outcomes[name].items() if kind == "failed"}
    assert set(failed) == set(SUITES[name].fails), failed


def test_every_contract_test_has_its_fake(outcomes: Outcomes) -> None:
    """A test that no fake can fail would prove nothing."""
    every = {test for suite in outcomes.values() for test in suite}
    found = {test for suite in SUITES.values() for test in suite.fails}
    assert every == found


@pytest.mark.parametrize(
    ("suite", "test", "words"),
    [
        ("TestAborts", "test_input_is_unchanged", "SIGABRT"),
        ("TestSegfaults", "test_input_is_unchanged", "SIGSEGV"),
        ("TestHangs", "test_input_is_unchanged", "did not finish within 3 s"),
        ("TestEatsMemory", "test_input_is_unchanged", "500 MB are allowed"),
        ("TestExits", "test_input_is_unchanged", "SystemExit"),
        ("TestWritesAfar", "test_writes_stay_under_the_output", "stray.txt"),
        ("TestWritesNatively", "test_writes_stay_under_the_output", "native.txt"),
        ("TestRemovesStrangers", "test_writes_stay_under_the_output", "notes.txt"),
        ("TestWrongNumbers", "test_numbers_agree_with_the_source", "SQNR"),
        ("TestClaimsInt8", "test_file_is_what_it_claims", "the file is brick, not brick-int8"),
        ("TestHidesCause", "test_damaged_input_is_refused[empty]", "without its cause"),
        ("TestBareException", "test_damaged_input_is_refused[empty]", "JSONDecodeError"),
        ("Test_MISSPELT", "test_is_loaded_whole", "no hook called convkit_convertors"),
        ("Test_UNDECORATED", "test_is_loaded_whole", "lacks the @hookimpl decorator"),
        ("Test_TAKES_A_NAME", "test_is_loaded_whole", "already offered by"),
        ("TestEager", "test_import_is_cheap", "importing the plugin loads numpy"),
        ("TestUnregistered", "test_is_deterministic", "no plugin offers"),
    ],
)
def test_the_message_names_the_fault(outcomes: Outcomes, suite: str, test: str, words: str) -> None:
    assert words in outcomes[suite][test][1]
