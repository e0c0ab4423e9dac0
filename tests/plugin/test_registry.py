"""A declaration that breaks the contract is lost and reported; everything else stays."""

from __future__ import annotations

import pytest

from convkit.errors import PluginError, UsageError
from convkit.plugin.manager import PluginManager
from convkit.plugin.registry import Registry

TOY = "tests.testing.toyplugin.plugin"
BAD = "tests.testing.toyplugin.bad_plugins"
GOOD = 7


def registry(*targets: str) -> Registry:
    manager = PluginManager()
    for target in (TOY, *targets):
        manager.add(target.rpartition(":")[2], target)
    return Registry(manager)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("TAKES_A_NAME", "converters 'toy.brick' is already offered by tests.testing"),
        ("NAMES_TWICE", "converters 'odd.brick' is already offered by NAMES_TWICE"),
        ("NO_NAME", "has no proper name"),
        ("UNKNOWN_FORMAT", "unknown format 'tile'"),
        ("UNKNOWN_PRECISION", "speaks of toy-int4, which toy does not have"),
        ("RAISES_PRECISION", "raises precision, from brick-fp16 to brick"),
        ("WIDENS_NOTHING", "widens nothing, from brick to brick"),
        ("UNBOUND", "by option 'operator-set', which it lacks"),
        ("WRONG_TYPES", "cannot be read: AttributeError"),
        ("RAISES_LATER", "no licence server"),
        ("ANSWERS_NUMBER", "answered nothing usable"),
    ],
)
def test_fault_is_reported_and_harms_nobody(fault: str, words: str) -> None:
    found = registry(f"{BAD}:{fault}")
    assert [b.name for b in found.broken] == [fault]
    assert words in found.broken[0].reason
    good = [n for n in found.converters if found.owner("converters", n).target == TOY]
    assert len(good) == GOOD
    assert set(found.formats) == {"toy", "brick", "toy-crate"}


def test_everything_has_its_owner() -> None:
    found = registry()
    for kind in ("formats", "converters", "runners", "inspectors"):
        for name in getattr(found, kind):
            assert found.owner(kind, name).target == TOY


def test_registry_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        registry().converters["mine"] = None  # type: ignore[index]


def test_lookups() -> None:
    found = registry()
    runner = next(iter(found.runners_of("brick")), None)
    assert runner is not None and runner.name == "brick.run"
    assert found.runners_of("tile") == ()
    assert found.inspector("toy").name == "toy.inspect"
    with pytest.raises(PluginError, match="tile"):
        found.inspector("tile")
    with pytest.raises(UsageError) as caught:
        found.converter("toy.brik")
    assert "toy.brick" in caught.value.hint
