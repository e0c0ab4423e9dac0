"""Gates and failures as JUnit XML, the form in which CI systems show tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from xml.etree import ElementTree

from convkit.comparison import Gate

SUITE = "convkit"


class Measured(Protocol):
    """A row of a comparison, an evaluation or a benchmark."""

    @property
    def title(self) -> str:
        """Unique in the run."""

    @property
    def error(self) -> str:
        """Why it was not made or measured; empty where it was."""

    @property
    def hint(self) -> str:
        """What would help."""


def junit(gates: Sequence[Gate], models: Sequence[Measured] = ()) -> str:
    """One test case a gate, and one a model: it was made and measured, or it was not."""
    suite = ElementTree.Element("testsuite", name=SUITE)
    for model in models:
        case = ElementTree.SubElement(suite, "testcase", classname=SUITE, name=model.title)
        if model.error:
            ElementTree.SubElement(case, "error", message=model.error).text = model.hint
    for gate in gates:
        name = f"{gate.title} {gate.limit}"
        case = ElementTree.SubElement(suite, "testcase", classname=SUITE, name=name)
        if gate.passed:
            ElementTree.SubElement(case, "system-out").text = gate.message
        else:
            ElementTree.SubElement(case, "failure", message=gate.message)
    counts = {kind: len(list(suite.iter(kind))) for kind in ("testcase", "failure", "error")}
    suite.set("tests", str(counts["testcase"]))
    suite.set("failures", str(counts["failure"]))
    suite.set("errors", str(counts["error"]))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"
