"""The conformance kit: contract suites that a plugin's tests inherit.

    from convkit.testing import ConverterContract

    class TestMyConverter(ConverterContract):
        @pytest.fixture
        def converter(self):
            return plugin.convkit_converters()[0]

        @pytest.fixture
        def source(self, tmp_path):
            return write_a_small_model(tmp_path / "model.onnx")

Needs pytest. Everything runs in the workers that users' conversions run in, so edges with isolated
environments are tested where they live.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convkit.testing.calibration_source import CalibrationSourceContract
    from convkit.testing.converter import ConverterContract
    from convkit.testing.delegate_rules import DelegateRulesContract
    from convkit.testing.format import FormatContract
    from convkit.testing.inspector import InspectorContract
    from convkit.testing.plugin import PluginContract
    from convkit.testing.runner import RunnerContract

__all__ = [
    "CalibrationSourceContract",
    "ConverterContract",
    "DelegateRulesContract",
    "FormatContract",
    "InspectorContract",
    "PluginContract",
    "RunnerContract",
]

_HOMES = {
    "CalibrationSourceContract": "calibration_source",
    "ConverterContract": "converter",
    "DelegateRulesContract": "delegate_rules",
    "FormatContract": "format",
    "InspectorContract": "inspector",
    "PluginContract": "plugin",
    "RunnerContract": "runner",
}


def __getattr__(name: str) -> Any:
    """Import on first use: workers import this package too, where there may be no pytest."""
    if name not in _HOMES:
        raise AttributeError(f"module 'convkit.testing' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"convkit.testing.{_HOMES[name]}"), name)
