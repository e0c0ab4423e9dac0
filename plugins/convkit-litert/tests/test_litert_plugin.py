"""The hooks: what the plugin offers, and what it costs to import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from convkit.plugin import Converter, Inspector, Runner
from convkit_litert import plugin

FRAMEWORKS = ("numpy", "torch", "tensorflow", "litert_torch", "ai_edge_litert", "ai_edge_quantizer")


def test_import_loads_no_framework() -> None:
    code = "import sys, convkit_litert.plugin as p; p.convkit_converters(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {name.partition(".")[0] for name in done.stdout.split()} & set(FRAMEWORKS)


def test_offers() -> None:
    (tflite,) = plugin.convkit_formats()
    assert tflite.precisions == ("fp32", "fp16", "int8-dynamic", "int8")
    converters = {c.name: c for c in plugin.convkit_converters()}
    assert set(converters) == {
        "litert-torch.tflite",
        "ai-edge-quantizer.fp16",
        "ai-edge-quantizer.dynamic",
        "ai-edge-quantizer.int8",
        "litert.widen",
        "litert.dequantize",
        "litert.dequantize-dynamic",
    }
    assert all(isinstance(c, Converter) for c in converters.values())
    assert all(isinstance(r, Runner) for r in plugin.convkit_runners())
    assert all(isinstance(i, Inspector) for i in plugin.convkit_inspectors())
    assert converters["ai-edge-quantizer.int8"].needs_calibration
    assert converters["litert-torch.tflite"].requires[0].one_of == ("pt2",)


@pytest.mark.parametrize(
    ("name", "head", "confidence"),
    [
        ("m.bin", b"\x20\0\0\0TFL3rest", 1.0),
        ("m.tflite", b"", 0.5),
        ("m.tflite", b"\x20\0\0\0ONNX", 0.5),
        ("m.onnx", b"\x08\x07\x12\x04abcd", None),
    ],
)
def test_detect(name: str, head: bytes, confidence: float | None) -> None:
    found = plugin.convkit_detect_format(Path(name), head)
    assert (found.confidence if found else None) == confidence
