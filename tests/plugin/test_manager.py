"""One broken plugin is reported and never takes the others down."""

from __future__ import annotations

import types
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from convkit.plugin import Format, hookimpl
from convkit.plugin import manager as managing
from convkit.plugin.manager import PluginManager
from convkit.plugin.registry import Registry

TOY = "tests.testing.toyplugin.plugin"
BAD = "tests.testing.toyplugin.bad_plugins"


def loaded(manager: PluginManager) -> list[str]:
    return [p.name for p in manager.loaded]


def reasons(manager: PluginManager) -> dict[str, str]:
    return {p.name: p.reason for p in manager.broken}


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("tests.testing.toyplugin.nowhere", "No module named"),
        (f"{BAD}:NOWHERE", "has no attribute"),
        (f"{BAD}:MISSPELT", "no hook called convkit_convertors"),
        (f"{BAD}:UNDECORATED", "convkit_converters lacks the @hookimpl decorator"),
    ],
)
def test_broken_plugin_is_left_out_alone(target: str, words: str) -> None:
    manager = PluginManager()
    manager.add("broken", target)
    manager.add("toy", TOY)
    assert loaded(manager) == ["toy"]
    assert words in reasons(manager)["broken"]
    assert [p.name for p, _ in manager.call("convkit_formats")] == ["toy"]


def test_plugin_that_exits_on_import(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(target: str) -> None:
        raise SystemExit("no licence")

    manager = PluginManager()
    manager.add("toy", TOY)
    monkeypatch.setattr(managing, "load_target", leave)
    manager.add("rude", "rude.plugin")
    assert loaded(manager) == ["toy"]
    assert reasons(manager)["rude"] == "SystemExit: no licence"


def test_wrong_hook_arguments_leave_nothing_half_registered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """pluggy refuses the signature after it has registered the plugin's other hooks."""

    def convkit_formats() -> tuple[Format, ...]:
        return (Format("ghost", "Ghost", (".ghost",)),)

    def convkit_step_started(step: object, colour: object) -> None:
        """No such argument."""

    half = types.SimpleNamespace(
        convkit_formats=hookimpl(convkit_formats),
        convkit_step_started=hookimpl(convkit_step_started),
    )
    monkeypatch.setattr(managing, "load_target", lambda target: half)
    manager = PluginManager()
    manager.add("half", "half.plugin")
    assert loaded(manager) == []
    assert "colour" in reasons(manager)["half"]
    assert manager.call("convkit_formats") == []


def test_hook_that_raises_drops_its_plugin_only() -> None:
    manager = PluginManager()
    manager.add("raises", f"{BAD}:RAISES")
    manager.add("toy", TOY)
    assert [p.name for p, _ in manager.call("convkit_converters")] == ["toy"]
    assert "no licence server" in reasons(manager)["raises"]
    assert loaded(manager) == ["toy"]


def test_same_name_twice_names_both_owners() -> None:
    manager = PluginManager()
    manager.add("toy", TOY)
    manager.add("toy", f"{BAD}:SHAKY")
    assert loaded(manager) == ["toy"]
    assert (
        reasons(manager)["toy"]
        == f"the name 'toy' is taken by {TOY}; one of the two must be renamed"
    )


def test_same_target_twice_is_no_conflict() -> None:
    """Installed, and named as an extra besides."""
    manager = PluginManager()
    manager.add("toy", TOY)
    manager.add(TOY, TOY)
    assert loaded(manager) == ["toy"]
    assert manager.broken == []
    assert len(manager.call("convkit_formats")) == 1


def test_entry_points_are_found_and_foreign_groups_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    points = EntryPoints(
        [
            EntryPoint("toy", TOY, "convkit.v1"),
            EntryPoint("gone", "tests.nowhere", "convkit.v1"),
            EntryPoint("future", "tests.nowhere", "convkit.v2"),
            EntryPoint("other", "tests.nowhere", "console_scripts"),
        ]
    )
    monkeypatch.setattr(managing, "entry_points", lambda: points)
    manager = PluginManager.discover()
    assert loaded(manager) == ["core", "toy"]
    assert set(reasons(manager)) == {"gone", "future"}
    assert (
        reasons(manager)["future"]
        == "made for plugin interface convkit.v2; this convkit has convkit.v1"
    )


def test_managers_are_independent() -> None:
    one, other = PluginManager(), PluginManager()
    one.add("toy", TOY)
    assert other.call("convkit_formats") == []
    assert Registry(one).formats
    assert not Registry(other).formats
