"""Requirements of plugins, met or not: the quick way must say what `packaging` says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from convkit.engine.machine import unmet_requirement
from convkit.environment import Environment

RELEASES = st.lists(st.integers(0, 30), min_size=1, max_size=4).map(
    lambda numbers: ".".join(map(str, numbers))
)
SUFFIXES = st.sampled_from(["", "+cpu", ".dev1", "rc1", ".post1"])


def environment(version: str | None) -> Environment:
    return Environment("3.11", "linux", "x86_64", {"thing": version} if version else {})


@given(RELEASES, SUFFIXES, RELEASES)
def test_a_least_release_is_judged_as_packaging_judges_it(
    release: str, suffix: str, least: str
) -> None:
    installed = release + suffix
    expected = Requirement(f"thing>={least}").specifier.contains(installed, prereleases=True)

    fault = unmet_requirement((f"thing>={least}",), environment(installed))

    assert (not fault) == expected


def test_one_alternative_is_enough() -> None:
    assert unmet_requirement(("other>=2|thing",), environment("1")) == ""
    assert "other is not installed" in unmet_requirement(("other>=2",), environment("1"))
    assert "cannot be read" in unmet_requirement(("thing >=",), environment("1"))
