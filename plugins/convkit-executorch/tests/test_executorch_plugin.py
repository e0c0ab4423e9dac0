"""The hooks: what the plugin offers, and what it costs to import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from convkit.plugin import Converter, Inspector, Runner
from convkit.testing import PluginContract
from convkit_executorch import plugin


class TestPlugin(PluginContract):
    plugin = "convkit_executorch.plugin"


def test_import_loads_no_framework() -> None:
    code = (
        "import sys, convkit_executorch.plugin as p; p.convkit_converters(); p.convkit_runners(); "
        "p.convkit_inspectors(); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"numpy", "torch", "torchao", "executorch", "flatbuffers"}


def test_offers() -> None:
    (executorch,) = plugin.convkit_formats()
    assert executorch.suffixes == (".pte",)
    converters = {c.name: c for c in plugin.convkit_converters()}
    assert set(converters) == {"executorch.xnnpack", "executorch.xnnpack-int8"}
    assert all(isinstance(c, Converter) for c in converters.values())
    assert all(isinstance(r, Runner) for r in plugin.convkit_runners())
    assert all(isinstance(i, Inspector) for i in plugin.convkit_inspectors())
    assert converters["executorch.xnnpack-int8"].needs_calibration


@pytest.mark.parametrize(
    ("name", "head", "confidence"),
    [
        ("m.bin", b"\x3c\0\0\0ET12eh00", 1.0),
        ("m.pte", b"", 0.5),
        ("m.pte", b"\x20\0\0\0TFL3", 0.5),
        ("m.tflite", b"\x20\0\0\0TFL3rest", None),
        ("m.onnx", b"\x08\x07\x12\x04abcd", None),
    ],
)
def test_detect(name: str, head: bytes, confidence: float | None) -> None:
    found = plugin.convkit_detect_format(Path(name), head)
    assert (found.confidence if found else None) == confidence
