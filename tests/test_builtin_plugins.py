"""Every plugin of this repository keeps the contract of plugin modules."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

from convkit.plugin.manager import PluginManager
from convkit.plugin.marker import ENTRY_POINT_GROUP
from convkit.testing import PluginContract

SUITES = {
    f"Test_{point.name}": type(f"Test_{point.name}", (PluginContract,), {"plugin": point.value})
    for point in entry_points(group=ENTRY_POINT_GROUP)
}
globals().update(SUITES)


def test_plugins_are_installed() -> None:
    """Else this file would prove nothing."""
    if not SUITES:
        pytest.skip("no plugin is installed")
    assert {p.target for p in PluginManager.discover().loaded} >= {
        point.value for point in entry_points(group=ENTRY_POINT_GROUP)
    }
