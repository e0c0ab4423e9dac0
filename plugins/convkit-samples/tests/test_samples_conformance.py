"""convkit-samples keeps the contract of plugin modules; it offers nothing that converts."""

from __future__ import annotations

from convkit.testing import PluginContract


class TestPlugin(PluginContract):
    plugin = "convkit_samples.plugin"
